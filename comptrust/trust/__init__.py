"""Trust measurement: suites hold prompts, models answer them, dimensions score the answers."""

from comptrust.trust.dispatch import parse

__all__ = ["parse"]
