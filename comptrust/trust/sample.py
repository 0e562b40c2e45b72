"""Samples: a seeded share of a suite's items, the same for both models and in every scenario.

The items of a dimension are put in one random order in which every beginning has the scenarios in
proportion to their weight in the score (stratified by the scenarios that ask an item; Cochran 1977,
chapter 5). A sample is the beginning of that order, so a smaller one is part of a larger one. The
order depends on the seed, the dimension and the item alone, not on the machine or a library.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from comptrust.records import Generation, Limit, Prompt, Sample, Suite
from comptrust.trust import base

SEED = 0
"""Seed of every new sample. It is fixed, so that nobody draws until a sample suits them."""


def draw(suite: Suite, limit: Limit, *, seed: int = SEED) -> Suite:
    """Return a sample of a whole suite: items of each dimension, with all their prompts.

    `limit` is their number or, if it is a float, their share (0-1). Each scenario keeps at least
    one. If nothing is left out, the suite is returned as it is.
    """
    kept: list[Prompt] = []
    for name, prompts in suite.by_dimension().items():
        table = unanswered(prompts, dimension=name, suite=suite)
        items = items_of(prompts, table)
        shares = base.get(name, scoring=suite.scoring).shares(table)
        order = proportional(strata(items, prompts, shares, key=f"{seed}/{name}"))
        count = math.ceil(limit * len(order)) if isinstance(limit, float) else limit
        rank = {item: number for number, item in enumerate(order)}
        first: dict[str, int] = {}
        for item, prompt in zip(items, prompts, strict=True):
            first[prompt.scenario] = min(first.get(prompt.scenario, len(order)), rank[item])
        chosen = {*order[:count], *(order[number] for number in first.values())}
        kept += [prompt for item, prompt in zip(items, prompts, strict=True) if item in chosen]
    if len(kept) == len(suite.prompts):
        return suite
    sample = Sample(parent=suite.digest, seed=seed)
    # Not model_copy: it would copy the digest too.
    fields = {field: getattr(suite, field) for field in Suite.model_fields}
    return Suite(**fields | {"prompts": tuple(kept), "limit": limit, "sample": sample})


def unanswered(prompts: Iterable[Prompt], *, dimension: str, suite: Suite) -> base.Table:
    """Return the table of prompts of one dimension, with blank answers: it has their clusters."""
    judge = base.get(dimension, scoring=suite.scoring).judge
    fields = {"dimension", "scenario", "id", "target", "extra"}
    return base.Table.of(
        judge(Generation(texts=("",), **{name: getattr(prompt, name) for name in fields}))
        for prompt in prompts
    )


def items_of(prompts: Sequence[Prompt], table: base.Table) -> list[str]:
    """Return each prompt's item: its cluster, or one of its repeats with other sampling seeds."""
    clusters = table.cluster.tolist()
    sizes = Counter(zip(table.scenario.tolist(), clusters, strict=True))
    seen: Counter[object] = Counter()
    items = []
    for prompt, cluster in zip(prompts, clusters, strict=True):
        repeat = 0
        if sizes[prompt.scenario, cluster] > 1:
            question = (prompt.scenario, cluster, prompt.messages, prompt.prefill, prompt.choices)
            repeat = seen[question]
            seen[question] += 1
        items.append(f"{cluster}\n{repeat}" if repeat else cluster)
    return items


class Stratum(NamedTuple):
    """The items that the same scenarios ask."""

    start: float
    """Where its items begin in a systematic order, 0-1, random."""
    weight: float
    """Points of the score that its items hold together."""
    items: list[str]
    """In random order."""


def strata(
    items: Sequence[str], prompts: Sequence[Prompt], shares: np.ndarray, *, key: str
) -> list[Stratum]:
    """Return the strata of a dimension, whose prompts have these items and shares.

    The random order depends on `key` and the items alone.
    """
    asked: defaultdict[str, set[str]] = defaultdict(set)
    weight: Counter[str] = Counter()
    for item, prompt, share in zip(items, prompts, shares.tolist(), strict=True):
        asked[item].add(prompt.scenario)
        weight[item] += share
    members: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for item, scenarios in asked.items():
        members[frozenset(scenarios)].append(item)
    for names in members.values():
        names.sort(key=lambda item: uniform(key, "item", item))
    return [
        Stratum(
            start=uniform(key, "scenarios", *sorted(pattern)),
            weight=sum(weight[item] for item in names),
            items=names,
        )
        for pattern, names in members.items()
    ]


def proportional(strata: Iterable[Stratum]) -> list[str]:
    """Return all items in an order whose beginnings have the strata in proportion to weight."""
    # Systematic: the beginnings of all strata grow by their weight, from a random start.
    places = {
        item: (rank + stratum.start) / stratum.weight if stratum.weight else math.inf
        for stratum in strata
        for rank, item in enumerate(stratum.items)
    }
    return sorted(places, key=lambda item: (places[item], item))


def uniform(*words: str) -> float:
    """Return a number, 0-1, that looks random and depends on the words alone."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8]) / 2**64
