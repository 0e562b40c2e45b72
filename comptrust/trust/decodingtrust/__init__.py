"""Readers that turn the original DecodingTrust files into prompts, one file per dimension.

A reader offers `prompts(folder, scenario)` and `SCENARIOS`, the order in which it is called. The
scenarios themselves belong to the dimension.
"""
