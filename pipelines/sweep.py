"""Step `sweep` of MLproject: run a grid of models, methods, rates and seeds."""

import sys

from comptrust.cli.main import main

main(["sweep", *sys.argv[1:]])
