"""Compress language models, measure what that did to their trustworthiness, and gate them.

    checkpoint = comptrust.compress("builtin:smollm2-135m-instruct", "gptq", bits=4)
    candidate = comptrust.evaluate(checkpoint)
    dense = comptrust.evaluate("builtin:smollm2-135m-instruct")
    comptrust.judge(candidate, dense, policy="staging")

Every expected failure is a `ComptrustError`: a `UserError` (your input) or a `ServiceError` (a
service or this machine).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comptrust.api import Comparison, compare, compress, evaluate, judge, score
    from comptrust.errors import ComptrustError, ServiceError, UserError
    from comptrust.records import (
        Checkpoint,
        Finding,
        Generation,
        Prompt,
        Recipe,
        Score,
        Scorecard,
        Suite,
        Verdict,
    )
    from comptrust.trust.evaluation import Evaluation

__version__ = "0.1.0"
__all__ = [
    "Checkpoint", "Comparison", "ComptrustError", "Evaluation", "Finding", "Generation", "Prompt",
    "Recipe", "Score", "Scorecard", "ServiceError", "Suite", "UserError", "Verdict", "__version__",
    "compare", "compress", "evaluate", "judge", "score",
]  # fmt: skip
HOMES = ("comptrust.api", "comptrust.errors", "comptrust.records", "comptrust.trust.evaluation")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line must not wait for all."""
    if name in __all__:
        from importlib import import_module

        for home in HOMES:
            if hasattr(module := import_module(home), name):
                return getattr(module, name)
    raise AttributeError(f"module 'comptrust' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
