"""Compress language models, measure what that did to their trustworthiness, and gate them."""

__version__ = "0.1.0"
