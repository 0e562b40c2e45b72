"""Trust measurement: suites ask, backends answer, dimensions judge and aggregate as published."""

from comptrust.trust.parsing import parse

__all__ = ["parse"]
