"""Readers that turn the original DecodingTrust files into prompts, one file per dimension.

A reader offers `rows(folder, scenario)`: the fields of each prompt but its dimension, scenario and
number. If the data has another order than the dimension, `SCENARIOS` gives it.
"""
