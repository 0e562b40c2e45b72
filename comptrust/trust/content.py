"""What answers show of their prompts (what scoring needs, not the text), and what asks the same."""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]
from scipy.sparse import csgraph  # type: ignore[import-untyped]

from comptrust import digests
from comptrust.records import Generation, Prompt, Suite, SuiteManifest
from comptrust.trust import base, sample
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.stored import prompt_of

Asked = Mapping[str, Iterable[Generation | Prompt]]
"""Dimension -> answers, or prompts, in order."""


def digest(manifest: SuiteManifest, asked: Asked, *, older: bool = False) -> str:
    """Digest a manifest with what answers, or prompts, show of what was asked."""
    text = digests.older if older else digests.canonical
    shown = {
        name: digests.of_text("".join(f"{text(prompt_of(row))}\n" for row in rows))
        for name, rows in asked.items()
    }
    return digests.of_text(text([manifest.model_dump(mode="json"), shown]))


def of_suite(suite: Suite) -> str:
    """Return the digest that answers to all prompts of a suite have."""
    return digest(suite.manifest(), suite.by_dimension(), older=suite.older)


def of_answers(evaluation: Evaluation) -> str | None:
    """Return the digest of what an evaluation was asked; None if it does not say which suite."""
    return digest(evaluation.suite, evaluation.generations) if evaluation.suite else None


def shows(evaluation: Evaluation, expected: str) -> bool:
    """Return whether an evaluation was asked what has a digest, also one of earlier versions."""
    suite, rows = evaluation.suite, evaluation.generations
    return suite is not None and any(
        digest(suite, rows, older=older) == expected for older in (False, True)
    )


def items(suite: Suite) -> dict[str, int]:
    """Count each dimension's scored items; clusters with the same question are one item."""
    counts = {}
    for name, prompts in suite.by_dimension().items():
        table = sample.unanswered(prompts, dimension=name, suite=suite)
        scored = base.get(name, scoring=suite.scoring).shares(table) > 0
        asked: dict[object, int] = {}
        questions = [
            asked.setdefault(
                (prompt.messages, prompt.prefill, prompt.choices, prompt.reference), len(asked)
            )
            for prompt, counted in zip(prompts, scored, strict=True)
            if counted
        ]
        names, numbers = np.unique(table.cluster[scored].astype(str), return_inverse=True)
        size = len(names) + len(asked)
        links = (np.ones(len(questions)), (numbers, len(names) + np.array(questions, dtype=int)))
        counts[name] = (
            int(
                csgraph.connected_components(
                    sparse.coo_array(links, shape=(size, size)), directed=False
                )[0]
            )
            if size
            else 0
        )
    return counts
