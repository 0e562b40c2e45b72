"""The prompts of the suite `mini`, one module per dimension.

Each module has a function `rows()`, which returns the same rows on every machine.
"""
