"""Step `compress` of MLproject: one recipe becomes one checkpoint folder."""

import sys

from comptrust.cli.main import main

main(["compress", *sys.argv[1:]])
