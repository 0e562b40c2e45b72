"""Step `report` of MLproject: write the leaderboard, figures and verdicts of an experiment."""

import sys

from comptrust.cli.main import main

main(["report", *sys.argv[1:]])
