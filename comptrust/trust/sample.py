"""Samples: a seeded share of a suite's items, the same for both models and in every scenario.

The items of scenarios that share any are put in one random order in which every beginning has the
scenarios in proportion (stratified by the scenarios that ask an item; Cochran 1977, chapter 5). A
sample is the beginning of that order, so a smaller one is part of a larger one. The order depends
on the seed, the dimension and the item alone, not on the machine or a library.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from comptrust.records import Generation, Prompt, Sample, Suite
from comptrust.trust import base

SEED = 0
"""Seed of every new sample. It is fixed, so that nobody draws until a sample suits them."""
Scenarios = frozenset[str]


def draw(suite: Suite, limit: int, *, seed: int = SEED) -> Suite:
    """Return a sample of a whole suite: `limit` items of each scenario, with all their prompts.

    Where scenarios share items, the largest has `limit` of them and the others their proportion,
    but at least one. So have all scenarios of a dimension whose score is one mean over all prompts.
    If nothing is left out, the suite is returned as it is.
    """
    kept: list[Prompt] = []
    for name in dict.fromkeys(prompt.dimension for prompt in suite.prompts):
        prompts = [prompt for prompt in suite.prompts if prompt.dimension == name]
        table = unanswered(prompts, dimension=name, suite=suite)
        items = _items(prompts, table)
        places: defaultdict[str, set[str]] = defaultdict(set)
        for item, prompt in zip(items, prompts, strict=True):
            places[item].add(prompt.scenario)
        asked = {item: frozenset(scenarios) for item, scenarios in places.items()}
        chosen: set[str] = set()
        for scenarios in _linked(asked.values(), pooled=base.get(name).pooled):
            order = _order(asked, scenarios, key=f"{seed}/{name}")
            chosen |= _beginning(order, asked, limit)
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


def _items(prompts: Sequence[Prompt], table: base.Table) -> list[str]:
    """Return the item of each prompt: its cluster.

    Where a scenario asks an item one question many times with other sampling seeds, each repeat is
    an item of its own, or one item could be a hundred prompts.
    """
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


def _linked(patterns: Iterable[Scenarios], *, pooled: bool) -> Iterator[Scenarios]:
    """Yield groups of scenarios: those that share items, or all of them if `pooled`."""
    groups: list[Scenarios] = []
    for pattern in dict.fromkeys(patterns):
        touching = [group for group in groups if pooled or group & pattern]
        groups = [group for group in groups if group not in touching]
        groups.append(pattern.union(*touching))
    yield from groups


def _order(asked: Mapping[str, Scenarios], scenarios: Scenarios, *, key: str) -> list[str]:
    """Return the items of linked scenarios in a random order that keeps them in proportion."""
    strata: defaultdict[Scenarios, list[str]] = defaultdict(list)
    for item, pattern in asked.items():
        if pattern <= scenarios:
            strata[pattern].append(item)
    places: dict[str, float] = {}
    for pattern, items in strata.items():
        items.sort(key=lambda item: _uniform(key, "item", item))
        # Systematic: the beginnings of all strata grow alike, from a random start (0-1).
        start = _uniform(key, "scenarios", *sorted(pattern))
        places |= {item: (rank + start) / len(items) for rank, item in enumerate(items)}
    return sorted(places, key=lambda item: (places[item], item))


def _beginning(order: Sequence[str], asked: Mapping[str, Scenarios], limit: int) -> set[str]:
    sizes: Counter[str] = Counter()
    first: dict[str, str] = {}
    for item in order:
        sizes.update(asked[item])
        for scenario in asked[item]:
            first.setdefault(scenario, item)
    return {*order[: round(limit * len(order) / max(sizes.values()))], *first.values()}


def _uniform(*words: str) -> float:
    """Return a number from 0 to 1 that looks random, and is the same on every machine."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8]) / 2**64
