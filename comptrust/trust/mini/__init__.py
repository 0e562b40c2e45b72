"""The prompts of the suite `mini`, one module per dimension.

Each module has a function `prompts()`, which returns the same prompts on every machine.
"""
