"""A sweep file and its expansion: models x methods x rates x seeds, more and less by `include` and
`exclude`, one recipe a cell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field

from comptrust import config
from comptrust.compression import base
from comptrust.compression import recipe as recipes
from comptrust.errors import UserError, unknown
from comptrust.records import Recipe, Record, Scoring

FOLDER = config.SHIPPED / "sweeps"
OF_RECIPE = ("group_size", "calibration", "calibration_samples")
"""What `options` may set beside the settings of the method itself."""
MOST_CELLS = 10_000
MOST_SEEDS = 1_000


def _quoted(value: object) -> object:
    if isinstance(value, int):
        raise ValueError("YAML reads an unquoted 2:4 as a number in base 60; write it in quotes")
    return value


Structure = Annotated[str, BeforeValidator(_quoted)]


class Model(Record):
    """A dense model and what is known of it without its files."""

    name: str
    parameters: int | None = Field(default=None, ge=1, le=10**15)
    """Number of weights, for estimates where the files are not at hand."""


class Point(Record):
    """Some cells of the grid, by what is given; `include` needs at least the method."""

    model: str | None = None
    method: str | None = None
    bits: int | None = None
    sparsity: float | None = None
    structure: Structure | None = None
    seed: int | None = None


class Resources(Record):
    """What one cell asks of the machine it runs on."""

    cpus: int | Literal["auto"] = Field(default="auto", ge=1, le=10**5)
    """CPUs, and threads, of a cell; auto: the machine's, shared among the cells that fit side by
    side.
    """
    memory_gb: float | Literal["auto"] = Field(default="auto", gt=0, le=10**6)
    """Main memory in 10^9 bytes; auto: estimated from the model's size."""
    gpus: float = Field(default=0, ge=0, le=10**4)
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    """Memory of one GPU, which Ray does not tell; given, the estimate is held against it before
    anything starts.
    """
    retries: int = Field(default=1, ge=0, le=100)
    """How often a cell is begun anew within one sweep when its process or machine is lost."""


class SweepFile(Record):
    """The file as written."""

    name: str = ""
    """By default the file's name."""
    description: str = ""
    models: tuple[str | Model, ...] = ()
    dense_only: tuple[str | Model, ...] = ()
    """Models that are measured as they are, such as a smaller one to compare with."""
    methods: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    """Bits per weight, for the methods that quantize."""
    sparsity: tuple[float, ...] = ()
    """Shares of zeros without a pattern, for the methods that prune."""
    structure: tuple[Structure, ...] = ()
    """Patterns such as "2:4", for the methods that prune."""
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] | tuple[int, ...] = 3
    """How many calibration seeds (from 0), or which; methods without calibration have one cell."""
    options: dict[str, dict[str, bool | int | float | str]] = {}
    """Method -> group_size, calibration, calibration_samples and its own settings."""
    include: tuple[Point, ...] = ()
    exclude: tuple[Point, ...] = ()
    suite: str = "mini"
    dimensions: tuple[str, ...] | None = None
    limit: int | None = None
    scoring: Scoring = "compressed-trust"
    batch_size: Annotated[int, Field(ge=1)] | None = None
    policy: str = "staging"
    resources: Resources = Resources()


class Grid(Record):
    """A sweep file with its recipes, the dense ones first."""

    file: SweepFile
    recipes: tuple[Recipe, ...]

    def model(self, name: str) -> Model:
        """Return what the file says of a model."""
        return next(model for model in models(self.file) if model.name == name)


def shipped() -> list[str]:
    """Return the names of the shipped sweeps."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Grid:
    """Read a shipped sweep or a YAML file and expand it.

    Raises UserError naming file, line and what to do for an unknown key, a cell that means nothing,
    a point that matches nothing, or a grid without a compressed cell and without a dense one.
    """
    path = FOLDER / f"{name}.yaml" if name in shipped() else Path(name)
    if not path.is_file():
        raise (
            unknown("sweep", name, shipped())
            if path.suffix not in (".yaml", ".yml")
            else UserError(f"No sweep file {path}.")
        )
    file = config.load_yaml(path, SweepFile)
    file = file.model_copy(update={"name": file.name or path.stem})
    return Grid(file=file, recipes=_Expansion(file, path).recipes())


def models(file: SweepFile) -> list[Model]:
    """Return all models of a file, each as a record."""
    return [
        Model(name=model) if isinstance(model, str) else model
        for model in (*file.models, *file.dense_only)
    ]


class _Expansion:
    """Builds the recipes and knows the line to blame."""

    def __init__(self, file: SweepFile, path: Path) -> None:
        self.file, self.path = file, path
        self.names = [model.name for model in models(file)]
        self.compressed = self.names[: len(file.models)]
        self.root: Any = yaml.compose(config.read_text(path))

    def recipes(self) -> tuple[Recipe, ...]:
        self._check()
        found = [
            one
            for method in self.file.methods
            for model in self.compressed
            for one in self._rates(model, method)
        ]
        for number, point in enumerate(self.file.include):
            found += self._included(point, number)
        for number, point in enumerate(self.file.exclude):
            kept = [one for one in found if not _matches(point, one)]
            if len(kept) == len(found):
                raise self.error(
                    f"exclude {point.model_dump(exclude_none=True)} matches no cell. Remove or"
                    " correct it.",
                    "exclude",
                    number,
                )
            found = kept
        small = self.names[len(self.compressed) :]
        if not found and not small:
            raise self.error(
                "the grid has no cell. Give models and methods (with bits, sparsity or structure),"
                " or include.",
                "methods",
            )
        dense = [
            recipes.build(model=model, method="none")
            for model in dict.fromkeys([*(one.base_model for one in found), *small])
        ]
        return tuple({one.digest_of_fields(): one for one in (*dense, *found)}.values())

    def error(self, what: str, *where: str | int) -> UserError:
        return UserError(f"{self.path}, line {self._line(where)}: {what}")

    def _check(self) -> None:
        """Refuse what no cell could use: it is a mistake, or means a cell that is not there."""
        kinds = {}
        for number, method in enumerate(self.file.methods):
            try:
                kinds[method] = base.get(method).kind
            except UserError as error:
                raise self.error(str(error), "methods", number) from error
        for key, kind, does in (
            ("bits", "quantization", "quantizes"),
            ("sparsity", "pruning", "prunes"),
            ("structure", "pruning", "prunes"),
        ):
            if getattr(self.file, key) and kind not in kinds.values():
                listed = ", ".join(kinds) or "none"
                raise self.error(
                    f"{key} is given, but no method {does} (methods: {listed}). Remove it, or add"
                    " such a method.",
                    key,
                )
        if self.file.sparsity and self.file.structure and "unstructured" not in self.file.structure:
            raise self.error(
                "sparsity contradicts structure, which fixes the share of zeros. Add unstructured"
                " to structure, or remove one.",
                "sparsity",
            )
        if not self.file.bits and (
            needing := next((name for name, kind in kinds.items() if kind == "quantization"), None)
        ):
            raise self.error(
                f"method {needing} needs bits. Known:"
                f" {', '.join(map(str, base.get(needing).bits_known))}.",
                "methods",
            )
        for method in self.file.options:
            if method not in {*kinds, *(point.method for point in self.file.include)}:
                raise self.error(
                    f"options for '{method}', which is no method of this grid. Remove or"
                    " correct it.",
                    "options",
                    method,
                )
        if len(set(self.names)) != len(self.names):
            raise self.error("a model stands twice.", "models")
        rates = len(self.file.bits) + len(self.file.sparsity) + len(self.file.structure) + 1
        seeds = self.file.seeds if isinstance(self.file.seeds, int) else len(self.file.seeds)
        most = len(self.names) * (len(self.file.methods) * rates + len(self.file.include)) * seeds
        if most > MOST_CELLS:
            raise self.error(
                f"the grid may have {most} cells; the most is {MOST_CELLS}. Make several sweeps"
                " of it.",
                "methods",
            )

    def _rates(self, model: str, method: str) -> list[Recipe]:
        """Expand the file's own axes for one model and method."""
        kind = base.get(method).kind
        if kind == "quantization":
            fields: list[tuple[dict[str, Any], tuple[str | int, ...]]] = [
                ({"bits": b}, ("bits", n)) for n, b in enumerate(self.file.bits)
            ]
        elif kind == "pruning":
            structures = self.file.structure or ("unstructured",)
            fields = [
                ({"structure": s}, ("structure", n))
                for n, s in enumerate(structures)
                if s != "unstructured" or not self.file.sparsity
            ]
            if "unstructured" in structures:
                fields += [
                    ({"sparsity": share}, ("sparsity", number))
                    for number, share in enumerate(self.file.sparsity)
                ]
        else:
            fields = [({}, ("methods",))]
        return [
            one for field, where in fields for one in self._seeds(model, method, field, None, where)
        ]

    def _included(self, point: Point, number: int) -> list[Recipe]:
        where = ("include", number)
        if point.method is None:
            raise self.error("include needs a method.", *where)
        if point.model is not None and point.model not in self.names:
            raise self.error(str(unknown("model of this sweep", point.model, self.names)), *where)
        fields = point.model_dump(include={"bits", "sparsity", "structure"}, exclude_none=True)
        chosen = [point.model] if point.model else self.compressed
        return [
            one
            for model in chosen
            for one in self._seeds(model, point.method, fields, point.seed, where)
        ]

    def _seeds(
        self,
        model: str,
        method: str,
        fields: dict[str, Any],
        seed: int | None,
        where: tuple[str | int, ...],
    ) -> list[Recipe]:
        given = self.file.options.get(method, {})
        own = {key: value for key, value in given.items() if key not in OF_RECIPE}
        shared: dict[str, Any] = {key: value for key, value in given.items() if key in OF_RECIPE}
        seeds = range(self.file.seeds) if isinstance(self.file.seeds, int) else self.file.seeds
        try:
            chosen = [seed] if seed is not None else seeds if base.get(method).calibrated else [0]
            return [
                recipes.build(model=model, method=method, seed=one, options=own, **shared, **fields)
                for one in chosen
            ]
        except UserError as error:
            raise self.error(str(error), *where) from error

    def _line(self, where: tuple[str | int, ...]) -> int:
        """Return the line of a place in the file, or of the nearest thing around it."""
        node = self.root
        for part in where:
            if (
                isinstance(node, yaml.SequenceNode)
                and isinstance(part, int)
                and part < len(node.value)
            ):
                node = node.value[part]
            elif isinstance(node, yaml.MappingNode) and (
                found := [value for key, value in node.value if key.value == part]
            ):
                node = found[0]
        return int(node.start_mark.line) + 1


def _matches(point: Point, recipe: Recipe) -> bool:
    given = point.model_dump(exclude_none=True)
    fields = recipe.model_dump() | {"model": recipe.base_model}
    return all(fields[key] == value for key, value in given.items())
