"""Robustness: bad input, kills, full disks, lost servers and load, through the command line."""
