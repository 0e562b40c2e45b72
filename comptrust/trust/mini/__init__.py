"""The mini suite's prompts, one module a dimension; each offers `prompts()`, the same on every
machine.
"""
