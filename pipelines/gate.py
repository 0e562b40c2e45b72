"""Step `gate` of MLproject: judge a candidate against its dense baseline."""

import sys

from comptrust.cli.main import main

main(["gate", *sys.argv[1:]])
