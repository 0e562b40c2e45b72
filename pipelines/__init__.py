"""What a team edits and runs: the steps of MLproject, recipes and sweeps. Not installed."""
