"""Step `evaluate` of MLproject: ask one model a suite and score its answers."""

import sys

from comptrust.cli.main import main

main(["evaluate", *sys.argv[1:]])
