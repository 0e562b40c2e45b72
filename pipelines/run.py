"""Step `main` of MLproject: compress, evaluate the dense model (once) and the compressed one,
register, gate.
"""

import sys

from comptrust.cli.main import main

main(["run", *sys.argv[1:]])
