"""Make the positive control of a dense evaluation: from its answers and, if asked, its model.

The model part loads the model six times: five copies with 0.1% weight noise answer a sample, for
the noise floor, and a copy with 2-bit weights answers everything.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate import control, resampling, statistics
from comptrust.gate.measured import SignedControl, floors_refusal
from comptrust.gate.policy import Policy
from comptrust.gate.signing import keys
from comptrust.models import presets
from comptrust.records import Suite
from comptrust.text_tables import counted
from comptrust.tracking import evaluations, registry, runs
from comptrust.trust import base
from comptrust.trust.base import Table
from comptrust.trust.control import NAME, Control
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.run import evaluate

NOISE_SEEDS = 5
SAMPLE = 3
"""Every third item of a dimension is in the sample."""
FEWEST, MOST = 30, 100
"""Items of a dimension in the sample, as far as there are any."""
Say = Callable[[str], None]


def keep(dense: Evaluation, planted: Control) -> Evaluation:
    """Sign the control, if there is a key, and log it, or write it beside its scorecard file."""
    if key := keys.signing_key():
        planted = keys.sign(SignedControl(**dict(planted)), key)
    text = planted.model_dump_json(indent=2) + "\n"
    if dense.ref.startswith(evaluations.REMOTE):
        runs.Run(registry.run_of(dense.ref)).text(NAME, text)
    else:
        path = Path(dense.ref)
        digests.write_atomic((path if path.is_dir() else path.parent) / NAME, text)
    return dataclasses.replace(dense, control=planted)


def from_answers(dense: Evaluation, policy: Policy) -> Evaluation:
    """Return the evaluation with a control of the policy, and its floors if they are trusted."""
    trusted = keys.load_public_keys()
    if trusted and floors_refusal(dense.control, trusted):
        dense = dataclasses.replace(dense, control=None)
    return keep(dense, control.make(dense, policy))


@dataclass(frozen=True)
class Model:
    """The dense model itself: its folder, and the chat format of its prompts."""

    folder: Path
    template: str | None


def model_of(dense: Evaluation) -> Model | None:
    """Return the model behind a logged evaluation, None if its files are not known or not there."""
    from comptrust.compression import checkpoint

    if (record := dense.checkpoint) is None:
        return None
    registered = dense.ref.startswith("models:/")
    folder = Path(registry.local_model(dense.ref) if registered else record.path)
    if not folder.is_dir() or checkpoint.manifest(folder) != record.manifest:
        return None
    return Model(folder, presets.template(record.recipe.base_model))


def with_model(
    dense: Evaluation,
    policy: Policy,
    *,
    model: Model,
    suite: Suite,
    batch_size: int | None = None,
    say: Say = lambda line: None,
) -> Evaluation:
    """Return the evaluation of `suite` with noise floors and 2-bit weights in its control too.

    Raises UserError if the model does not see the prompts as it did.
    """
    from comptrust.compression import damage
    from comptrust.models import loading
    from comptrust.models.backends.hf import Hf

    def answered(prompts: Suite, change: Callable[..., None], **options: int) -> Evaluation:
        loaded = loading.load(model.folder)
        change(loaded[0], **options)
        backend = Hf(model.folder, batch_size=batch_size, template=model.template, loaded=loaded)
        with tempfile.TemporaryDirectory() as folder:
            return evaluate(backend, prompts, out=Path(folder), checkpoint_digest="damaged")

    planted = control.make(dense, policy)
    say(f"a copy with 2-bit weights answers {counted(len(suite.prompts), 'prompt')}")
    ruined = answered(suite, damage.round_to_few_bits)
    if ruined.scorecard.rendering_digest != dense.scorecard.rendering_digest:
        raise UserError(
            f"{dense.ref}: the model sees other texts than when it was evaluated (template or"
            " tokenizer). Evaluate it again."
        )
    sample = _sample(dense, suite)
    noisy = []
    for seed in range(NOISE_SEEDS):
        prompts = counted(len(sample.prompts), "prompt")
        say(f"noise floor: copy {seed + 1} of {NOISE_SEEDS} answers {prompts}")
        noisy.append(answered(sample, damage.add_noise, seed=seed))
    few_bits = control.noticed(dense, ruined.generations, policy, kind=control.FEW_BITS)
    made = planted.model_copy(
        update={
            "ruined": (planted.ruined[0], few_bits),
            "floors": {name: _floor(dense, noisy, name) for name in sample.required},
        }
    )
    return keep(dense, made)


def _sample(dense: Evaluation, suite: Suite) -> Suite:
    """Return a fixed random third of each dimension's items, with all of their prompts."""
    chosen: set[tuple[str, str]] = set()
    for name in suite.required:
        if (table := dense.table(name)) is not None:
            numbers, count = resampling.clusters(table)
            size = min(count, max(FEWEST, min(MOST, count // SAMPLE)))
            items = np.random.default_rng(0).permutation(count)[:size]
            chosen.update((name, key) for key in table.ids[np.isin(numbers, items)].tolist())
    prompts = [prompt for prompt in suite.prompts if (prompt.dimension, prompt.id) in chosen]
    names = dict.fromkeys(prompt.dimension for prompt in prompts)
    required = {name: suite.required[name] for name in names}
    return suite.model_copy(update={"prompts": tuple(prompts), "required": required})


def _floor(dense: Evaluation, noisy: list[Evaluation], name: str) -> float:
    whole = dense.table(name)
    assert whole is not None
    drops = []
    for copy in noisy:
        theirs = copy.table(name)
        assert theirs is not None
        same = whole.select(np.isin(whole.ids, theirs.ids))
        drops.append(_whole_drop(theirs, same, whole, dense, name))
    return float(np.quantile(drops, 0.95, method="higher"))


def _whole_drop(copy: Table, same: Table, whole: Table, dense: Evaluation, name: str) -> float:
    """Return what the drop on a sample says of the |drop| on all items.

    On n of N items a drop has a sampling variance of 1 - n/N times its squared standard error
    (finite population correction, Cochran 1977, 2.6), which its square contains on average.
    """
    contrast = base.get(name, scoring=dense.scoring).contrast(copy, same)
    bounds = statistics.interval(contrast, same, resamples=control.RESAMPLES)
    share = resampling.clusters(same)[1] / resampling.clusters(whole)[1]
    square = bounds.estimate**2 - (1 - share) * bounds.standard_error**2
    return math.sqrt(max(0.0, square))
