"""Everything that is decided, checked and estimated before a sweep starts any work."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from comptrust import config, digests
from comptrust.errors import ServiceError, UserError
from comptrust.gate import policy as policies
from comptrust.gate.policy import Policy
from comptrust.sweep import facts
from comptrust.sweep.cell import Cell, Questions
from comptrust.sweep.engines import Ask, Node
from comptrust.sweep.facts import Facts
from comptrust.sweep.grid import Grid, models
from comptrust.tracking import store, sweeps
from comptrust.workflow import signatures

REFERENCE_WEIGHTS = 134_515_008
REFERENCE_COMPRESS = {
    "none": 5.0,
    "magnitude": 10.0,
    "wanda": 43.0,
    "sparsegpt": 60.0,
    "gptq": 66.0,
    "awq": 433.0,
}
REFERENCE_PROMPT = 0.1
"""Seconds on 2 CPU cores with SmolLM2-135M: to compress with 30 calibration texts, and to answer
one prompt of the suite mini.
"""
RUN_BYTES, ANSWER_BYTES = 13.7e6, 312
"""Measured in the artifact store: a run without its weights and answers (most of it Data Docs), and
one answer of the suite mini.
"""
PASSED_ON = (
    "COMPTRUST_",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_DISABLE_TELEMETRY",
    "MLFLOW_REGISTRY_URI",
    "HF_HOME",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
)
"""Settings of this process that hold for every cell; passwords and keys are not among them: each
machine has its own environment.
"""


@dataclass(frozen=True)
class Estimate:
    """What a cell will take."""

    seconds: float | None
    basis: str
    """What the seconds rest on."""
    bytes: float | None
    """On disk: the checkpoint in the cache and again in the artifact store, and the answers."""


@dataclass(frozen=True)
class Sweep:
    """Cells in order, the dense ones first."""

    name: str
    digest: str
    cells: tuple[Cell, ...]
    facts: dict[str, Facts]
    """By the model's name."""
    policy: Policy
    grid: Grid

    def dense_of(self, cell: Cell) -> Cell | None:
        """Return the cell that has to be done before this one."""
        if cell.recipe.method == "none":
            return None
        return next(
            one
            for one in self.cells
            if one.recipe.method == "none" and one.recipe.base_model == cell.recipe.base_model
        )


def build(grid: Grid, *, work: bool) -> Sweep:
    """Look up models, suite and policy. With `work` all of them must be there.

    Raises UserError or ServiceError for the first that is not.
    """
    from comptrust.trust import suite as suites

    file = grid.file
    policy = policies.load(file.policy)
    signatures.Signer.load()  # a key that cannot be used is found now, not by every cell
    suite = suites.load(
        file.suite, dimensions=file.dimensions, scoring=file.scoring, limit=file.limit
    )
    asked = Questions(
        suite=file.suite,
        dimensions=file.dimensions,
        limit=file.limit,
        scoring=file.scoring,
        digest=suite.digest,
        n_prompts=len(suite.prompts),
    )
    known = {model.name: facts.of(model, work=work) for model in models(file)}
    cells = tuple(
        Cell(recipe=recipe, identity=known[recipe.base_model].identity or "", questions=asked)
        for recipe in grid.recipes
    )
    digest = digests.of_value(file.model_dump(mode="json", exclude={"resources", "description"}))
    return Sweep(file.name, digest, cells, known, policy, grid)


def done_before(sweep: Sweep) -> dict[str, sweeps.Done]:
    """Return key -> the cells of this sweep that are finished, by whichever sweep and from
    whichever machine.
    """
    terms = {"suite_digest": sweep.cells[0].questions.digest, "code_digest": digests.of_code()}
    found = sweeps.finished(terms)
    return {cell.key: found[cell.key] for cell in sweep.cells if cell.key in found}


def estimates(sweep: Sweep) -> dict[str, Estimate]:
    """Return key -> estimate: from finished cells of the same model where there are any, else
    scaled by size from a measured small one.
    """
    past = sweeps.past(digests.of_code())
    return {
        cell.key: _estimate(
            cell, sweep.facts[cell.recipe.base_model], past, gpus=sweep.grid.file.resources.gpus
        )
        for cell in sweep.cells
    }


def _estimate(cell: Cell, known: Facts, past: Sequence[sweeps.Past], *, gpus: float) -> Estimate:
    checkpoint = known.checkpoint_bytes(cell.recipe)
    size = (
        None
        if checkpoint is None
        else 2 * checkpoint + RUN_BYTES + ANSWER_BYTES * cell.questions.n_prompts
    )
    own = [one for one in past if one.model == cell.recipe.base_model and one.prompts]
    same = [one.compress for one in own if one.method == cell.recipe.method]
    if same:
        answer = sum(one.evaluate for one in own) / sum(one.prompts for one in own)
        return Estimate(
            _mean(same) + answer * cell.questions.n_prompts, f"{len(same)} finished cells", size
        )
    if gpus or known.weights is None:
        return Estimate(None, "nothing measured yet", size)
    scale = known.weights / REFERENCE_WEIGHTS
    seconds = scale * (
        REFERENCE_COMPRESS[cell.recipe.method] + REFERENCE_PROMPT * cell.questions.n_prompts
    )
    return Estimate(seconds, "size, from SmolLM2-135M on 2 CPU cores", size)


def ask(sweep: Sweep, nodes: Sequence[Node]) -> dict[str, Ask]:
    """Return model -> what its cells request.

    Raises UserError, with the figures, if no machine has that much.
    """
    given = sweep.grid.file.resources
    asks = {}
    for name, known in sweep.facts.items():
        estimated = known.memory(gpu=given.gpus > 0)
        memory = (
            given.memory_gb * 1e9 if given.memory_gb != "auto" else estimated or facts.PROCESS_BYTES
        )
        fits = [
            node
            for node in nodes
            if node.memory >= memory and node.gpus >= given.gpus and node.cpus >= 1
        ]
        best = max(nodes, key=lambda node: node.memory, default=None)
        if not fits:
            raise UserError(
                f"No machine fits a cell of {name}: it needs about {memory / 1e9:.1f} GB of memory"
                f" and {given.gpus:g} GPUs ({known.weights or 'unknown'} weights); the largest has"
                f" {best.memory / 1e9 if best else 0:.1f} GB, the most GPUs are"
                f" {max((node.gpus for node in nodes), default=0):g}. Use a larger machine, or set"
                " resources in the sweep."
            )
        gpu = known.gpu_memory()
        if (
            given.gpus
            and given.gpu_memory_gb
            and gpu
            and gpu > given.gpus * given.gpu_memory_gb * 1e9
        ):
            raise UserError(
                f"A cell of {name} needs about {gpu / 1e9:.1f} GB of GPU memory ({known.weights}"
                f" weights), {given.gpus:g} GPUs of {given.gpu_memory_gb:g} GB are asked for. Set"
                " resources.gpus higher, or use larger GPUs."
            )
        room = max(fits, key=lambda node: node.cpus)
        cpus = (
            given.cpus
            if given.cpus != "auto"
            else _share(room, memory, given.gpus, cells=len(sweep.cells))
        )
        if cpus > room.cpus:
            raise UserError(
                f"resources ask for {cpus} CPUs a cell, but the largest machine has {room.cpus}."
                " Lower cpus."
            )
        asks[name] = Ask(cpus=cpus, memory=memory, gpus=given.gpus)
    return asks


def _share(node: Node, memory: float, gpus: float, *, cells: int) -> int:
    """Return the CPUs of a cell when as many as fit run side by side."""
    by_gpu = int(node.gpus / gpus) if gpus else node.cpus
    side_by_side = max(1, min(node.cpus, int(node.memory / memory), by_gpu, cells))
    return max(1, node.cpus // side_by_side)


def settings(nodes: Sequence[Node], experiment: str) -> dict[str, str]:
    """Return the environment that every cell gets: one tracking store, one experiment, one cache.

    Raises UserError if the tracking store is a file of this machine and cells would run on others.
    """
    uri = store.tracking_uri()
    hosts = {node.host for node in nodes}
    if uri.startswith(("sqlite:", "file:", "/")) and hosts - {socket.gethostname()}:
        raise UserError(
            f"Cells would run on {len(hosts)} machines, but the tracking store {store.shown_uri()}"
            " is a file of this one. Start a tracking server (comptrust serve) and set"
            " MLFLOW_TRACKING_URI."
        )
    passed = {
        key: value
        for key, value in os.environ.items()
        if key.startswith(PASSED_ON) and not store.SECRET_VARIABLES.search(key)
    }
    return passed | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_ID": experiment}


def check_disk(sweep: Sweep, todo: Sequence[Cell]) -> None:
    """Raise ServiceError if the cache's disk has less room than the checkpoints to come need, by
    estimate.
    """
    sizes = [
        sweep.facts[cell.recipe.base_model].checkpoint_bytes(cell.recipe) or 0.0 for cell in todo
    ]
    folder = config.cache_dir()
    while not folder.exists():
        folder = folder.parent
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if sum(sizes) > free:
        raise ServiceError(
            f"The checkpoints of {len(todo)} cells need about {sum(sizes) / 1e9:.1f} GB, the cache"
            f" {folder} has {free / 1e9:.1f} GB free. Free space, or set COMPTRUST_CACHE to a"
            " larger disk."
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
