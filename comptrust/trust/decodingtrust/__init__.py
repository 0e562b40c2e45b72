"""Readers that turn the original DecodingTrust files into prompts, one file per dimension.

`rows(folder, scenario)` yields the fields of each prompt but its dimension, scenario and number:
none if a file is absent. It raises UserError for a broken one. If the data has another order than
the dimension, `SCENARIOS` gives it.
"""
