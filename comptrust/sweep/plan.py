"""What is decided, checked and estimated before a sweep starts any work."""

import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from comptrust import config, digests
from comptrust.compression import fitting
from comptrust.errors import ServiceError, UserError
from comptrust.gate import planning, stopping
from comptrust.gate import policy as policies
from comptrust.records import Recipe, Suite
from comptrust.sweep import facts
from comptrust.sweep.cell import Cell
from comptrust.sweep.engines import Capacity, Node
from comptrust.sweep.grid import Grid
from comptrust.sweep.sweep_file import Needs, SweepFile, models
from comptrust.text_tables import counted
from comptrust.tracking import registry, store, sweeps
from comptrust.workflow import signatures

REFERENCE_WEIGHTS = 134_515_008
"""Size of SmolLM2-135M, with which the next two were measured on 2 CPU cores."""
REFERENCE_COMPRESS = {
    "none": 5.0,
    "magnitude": 10.0,
    "wanda": 43.0,
    "sparsegpt": 60.0,
    "gptq": 66.0,
    "awq": 433.0,
}
"""Seconds to compress with 30 calibration texts."""
REFERENCE_PROMPT = 0.1
"""Seconds to answer one prompt of the suite mini."""
PROCESS_BYTES = 1.2e9
"""Main memory of a cell without a model: torch, transformers, MLflow, Great Expectations."""
ON_CPU, ON_GPU, BESIDE_GPU = 10, 5, 2
"""Bytes per weight. On the CPU: two copies in float32 while the checkpoint is compared, and room
for activations; on a GPU the same at 16 bits, and beside it the files pass through main memory."""
RUN_BYTES, ANSWER_BYTES = 0.6e6, 450
"""In the artifact store: a run without weights and answers (mostly pages), and one answer."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
PASSED_ON = (
    "COMPTRUST_", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_REGISTRY_URI",
    "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE",
)  # fmt: skip
"""Variables that hold for every cell; of passwords and keys each machine has its own."""


@dataclass(frozen=True)
class Sweep:
    """A grid with everything that was looked up for it."""

    digest: str
    cells: tuple[Cell, ...]
    """The dense ones first."""
    finished: dict[str, sweeps.Outcome]
    """Key -> outcome, of the cells that any sweep, on any machine, had finished."""
    facts: dict[str, facts.Facts]
    """By the model's name."""
    suite: Suite
    policy: policies.Policy
    file: SweepFile


def build(grid: Grid, *, work: bool) -> Sweep:
    """Look up models, suite and policy; with `work` all must be available, else nothing is made."""
    from comptrust.trust import suite as suites

    file = grid.file
    policy_name = file.policy or policies.default(file.suite)
    policy = policies.load(policy_name)
    for recipe in grid.recipes if work else ():
        file.asking.check_own(recipe)
    signatures.Signer()  # report an unusable key now, not in every cell
    suites.check_names(file.dimensions)
    if work or suites.has_data(file.suite):
        suite = suites.for_run(
            file.suite,
            dimensions=file.dimensions,
            scoring=file.scoring,
            limit=file.limit,
            stop=file.stop,
        )
        planning.check(suite, policy)
        for recipe in grid.recipes if file.stop == "early" else ():
            if recipe.method != "none":
                stopping.margins(suite, policy, recipe)
    else:
        suite = Suite(name=file.suite, revision="", prompts=(), required={})
    is_new = not work and store.missing_file(store.tracking_uri()) is not None
    if is_new and (named := [one.name for one in models(file) if one.name.startswith("models:/")]):
        raise UserError(f"There is no tracking store {store.shown_uri()} that has {named[0]}.")
    of_models = {model.name: facts.of(model, work=work) for model in models(file)}
    for recipe in grid.recipes:
        fitting.fit(recipe, of_models[recipe.base_model].layers)
    for recipe in {one.calibration: one for one in grid.recipes}.values():
        fitting.check_texts(recipe)
    past = () if is_new else sweeps.past()
    cells = tuple(
        _cell(recipe, of_models[recipe.base_model], suite, past, file=file)
        for recipe in grid.recipes
    )
    tags = {"suite_digest": suite.digest, "code_digest": digests.of_code()}
    outcomes = {} if is_new else sweeps.finished(tags)
    # What a cell may use and how the sweep is described do not make it another sweep. Some fields
    # came later: a sweep file that leaves them out keeps its digest.
    later = {"engine", "dtype", "template", "template_args", "stop"}
    defaults = {name for name in later if getattr(file, name) in ("auto", None, {}, "full")}
    apart = {"resources", "description", "server"} | defaults
    fields = file.model_dump(mode="json", exclude=apart) | {"policy": policy_name}
    return Sweep(
        digest=digests.of_value(fields),
        cells=cells,
        finished={cell.key: outcomes[cell.key] for cell in cells if cell.key in outcomes},
        facts=of_models,
        suite=suite,
        policy=policy,
        file=file,
    )


def _cell(
    recipe: Recipe,
    known: facts.Facts,
    suite: Suite,
    past: Sequence[sweeps.Past],
    *,
    file: SweepFile,
) -> Cell:
    identity = known.identity or ""
    n_prompts = len(suite.prompts) or _asked(file, past)
    name = registry.model_name(recipe.base_model, identity)
    content = recipe.model_copy(update={"base_model": name, "revision": identity})
    rate = sweeps.rate(recipe.model_dump())
    alike = [run for run in past if (run.model, run.rate) == (recipe.base_model, rate)]
    measured = next((run.bytes for run in alike if run.bytes), None)
    checkpoint = measured or known.checkpoint_bytes(recipe)
    answers = ANSWER_BYTES * (n_prompts or 0)
    size = None if checkpoint is None else 2 * checkpoint + RUN_BYTES + answers
    seconds, basis = None, f"the data of suite {file.suite} is not here"
    if n_prompts:
        seconds, basis = _seconds(recipe, known, past, n_prompts, on_gpu=file.resources.gpus > 0)
    asked: list[Any] = [content.digest_of_fields(), suite.digest, digests.of_code(), file.dtype]
    if file.engine != "auto":
        asked += [file.engine]
    if file.stop != "full":
        asked += [file.stop]
    if file.template or file.template_args:
        asked += [file.template, file.template_args]
    return Cell(
        recipe=recipe, key=digests.of_value(asked), seconds=seconds, basis=basis, bytes=size
    )


def _asked(file: SweepFile, past: Sequence[sweeps.Past]) -> int | None:
    """Return how many prompts the newest run of the suite answered, if the data is not here."""
    whole = file.dimensions is None and file.limit is None
    return next((run.prompts for run in past if whole and run.suite == file.suite), None)


def _seconds(
    recipe: Recipe, known: facts.Facts, past: Sequence[sweeps.Past], n_prompts: int, *, on_gpu: bool
) -> tuple[float | None, str]:
    """Estimate a cell's duration from finished runs of the model, else by size, and say which."""
    of_model = [run for run in past if run.model == recipe.base_model and run.prompts]
    if compress := [run.compress for run in of_model if run.rate[0] == recipe.method]:
        # the time to answer hardly depends on the method, so all cells of the model count
        per_prompt = sum(run.evaluate for run in of_model) / sum(run.prompts for run in of_model)
        return fmean(compress) + per_prompt * n_prompts, counted(len(compress), "finished run")
    if known.weights is None or recipe.method not in REFERENCE_COMPRESS or on_gpu:
        return None, "nothing measured yet"
    at_reference = REFERENCE_COMPRESS[recipe.method] + REFERENCE_PROMPT * n_prompts
    seconds = known.weights / REFERENCE_WEIGHTS * at_reference
    return seconds, "size, from SmolLM2-135M on 2 CPU cores"


def request(
    known: facts.Facts, sweep: Sweep, nodes: Sequence[Node], *, needs: Needs | None = None
) -> Capacity:
    """Return what each cell of a model needs. Raises UserError if no machine has that much.

    `needs` are those of its compression, if that is a process of its own.
    """
    resources = needs or sweep.file.resources
    gpus, of_a_gpu = resources.gpus, sweep.file.resources.gpu_memory_gb
    memory = PROCESS_BYTES + (BESIDE_GPU if gpus else ON_CPU) * (known.weights or 0)
    if resources.memory_gb != "auto":
        memory = resources.memory_gb * 1e9
    fitting = [
        node for node in nodes if node.memory >= memory and node.gpus >= gpus and node.cpus >= 1
    ]
    if not fitting:
        most_memory = max((node.memory for node in nodes), default=0)
        most_gpus = max((node.gpus for node in nodes), default=0)
        raise UserError(
            f"No machine fits a cell of {known.name}: it needs about {memory / 1e9:.1f} GB of"
            f" memory and {gpus:g} GPUs ({known.weights or 'unknown'} weights); the"
            f" largest has {most_memory / 1e9:.1f} GB, the most GPUs are {most_gpus:g}. Use a"
            " larger machine, or set resources in the sweep."
        )
    gpu_memory = ON_GPU * (known.weights or 0)
    if gpus and of_a_gpu and gpu_memory > gpus * of_a_gpu * 1e9:
        raise UserError(
            f"A cell of {known.name} needs about {gpu_memory / 1e9:.1f} GB of GPU memory"
            f" ({known.weights} weights), but the sweep requests {gpus:g} GPUs of"
            f" {of_a_gpu:g} GB. Set resources.gpus higher, or use larger GPUs."
        )
    node = max(fitting, key=lambda node: node.cpus)
    cpus = resources.cpus
    if cpus == "auto":
        # As many cells as fit run side by side and share the machine's CPUs.
        by_gpu = int(node.gpus / gpus) if gpus else node.cpus
        cpus = node.cpus // min(node.cpus, int(node.memory / memory), by_gpu, len(sweep.cells))
    if cpus > node.cpus:
        raise UserError(
            f"resources request {cpus} CPUs per cell, but the largest machine has {node.cpus}."
            " Lower cpus."
        )
    return Capacity(cpus=cpus, memory=memory, gpus=gpus)


def settings(nodes: Sequence[Node], experiment: str) -> dict[str, str]:
    """Return the environment of every cell. Raises UserError if other machines lack the store."""
    uri = store.tracking_uri()
    hosts = {node.host for node in nodes}
    if uri.startswith(("sqlite:", "file:", "/")) and hosts - {socket.gethostname()}:
        raise UserError(
            f"Cells would run on {counted(len(hosts), 'machine')}, but the tracking store"
            f" {store.shown_uri()} is a file on this one. Start a tracking server (comptrust serve)"
            " and set MLFLOW_TRACKING_URI."
        )
    return {
        key: value
        for key, value in os.environ.items()
        if key.startswith(PASSED_ON) and not store.SECRET_VARIABLES.search(key)
    } | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_ID": experiment}


def check_disk(sweep: Sweep) -> None:
    """Raise ServiceError if the cache's disk is too small for the estimated checkpoints."""
    todo = [cell for cell in sweep.cells if cell.key not in sweep.finished]
    needed = sum(
        sweep.facts[cell.recipe.base_model].checkpoint_bytes(cell.recipe) or 0.0 for cell in todo
    )
    cache = config.cache_dir()
    folder = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ServiceError(
            f"The checkpoints of {counted(len(todo), 'cell')} need about {needed / 1e9:.1f} GB,"
            f" but the cache {folder} has only {free / 1e9:.1f} GB free. Free some space, or"
            " set COMPTRUST_CACHE to a larger disk."
        )
