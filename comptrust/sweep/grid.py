"""A grid: a sweep file expanded into models x methods x rates x seeds, one recipe per cell."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from comptrust import config
from comptrust.compression import recipe as recipes
from comptrust.compression.base import METHODS
from comptrust.errors import UserError, unknown
from comptrust.records import Recipe, Record
from comptrust.sweep.sweep_file import CellFilter, Model, SweepFile, models

FOLDER = config.SHIPPED / "sweeps"
OF_RECIPE = ("group_size", "calibration", "calibration_samples")
"""What `options` may set beside the settings of the method itself."""
MAX_CELLS = 10_000
Place = tuple[str | int, ...]
"""Keys and indexes that lead to a value in the file, such as ("bits", 1)."""


class Grid(Record):
    """A sweep file with its recipes, the dense ones first."""

    file: SweepFile
    recipes: tuple[Recipe, ...]

    def model(self, name: str) -> Model:
        """Return what the file says about a model."""
        return next(model for model in models(self.file) if model.name == name)


def shipped() -> list[str]:
    """Return the names of the shipped sweeps."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Grid:
    """Read a shipped sweep or a YAML file and expand it.

    Raises UserError naming file and line for an unknown key, a combination without meaning, a
    filter that matches no cell, or a grid without any cell.
    """
    path = FOLDER / f"{name}.yaml" if name in shipped() else Path(name)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml"):
            raise UserError(f"There is no sweep file {path}.")
        raise unknown("sweep", name, shipped())
    file = config.load_yaml(path, SweepFile)
    file = file.model_copy(update={"name": file.name or path.stem})
    return Grid(file=file, recipes=_Expansion(file, path).recipes())


class _Expansion:
    """Builds the recipes of a file, and knows the line of each mistake."""

    def __init__(self, file: SweepFile, path: Path) -> None:
        self.file, self.path = file, path
        self.names = [model.name for model in models(file)]
        self.compressed = self.names[: len(file.models)]
        self.root: Any = yaml.compose(config.read_text(path))

    def recipes(self) -> tuple[Recipe, ...]:
        self._check()
        cells = [
            recipe
            for method in self.file.methods
            for model in self.compressed
            for recipe in self._of_method(model, method)
        ]
        for number, included in enumerate(self.file.include):
            cells += self._included(included, number)
        for number, excluded in enumerate(self.file.exclude):
            cells = self._without(cells, excluded, number)
        dense_only = self.names[len(self.compressed) :]
        if not cells and not dense_only:
            raise self.error(
                "the grid has no cell. Give models and methods (with bits, sparsity or structure),"
                " or include.",
                "methods",
            )
        # Every compressed model is compared with its dense source, so that is a cell as well.
        sources = dict.fromkeys([*(recipe.base_model for recipe in cells), *dense_only])
        dense = [recipes.build(model=model, method="none") for model in sources]
        # Axes and include may name the same cell; it is run once.
        return tuple({recipe.digest_of_fields(): recipe for recipe in (*dense, *cells)}.values())

    def error(self, what: str, *place: str | int) -> UserError:
        return UserError(f"{self.path}, line {self._line(place)}: {what}")

    def _check(self) -> None:
        """Refuse what no cell would use: it is a mistake, or a cell that the author expects."""
        kinds = self._kinds()
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
        quantizing = [method for method, kind in kinds.items() if kind == "quantization"]
        if quantizing and not self.file.bits:
            known = ", ".join(map(str, METHODS.get(quantizing[0]).bits_known))
            raise self.error(f"method {quantizing[0]} needs bits. Known: {known}.", "methods")
        for method in self.file.options:
            if method not in {*kinds, *(included.method for included in self.file.include)}:
                raise self.error(
                    f"options for '{method}', which is not a method of this grid. Remove or"
                    " correct it.",
                    "options",
                    method,
                )
        if len(set(self.names)) != len(self.names):
            raise self.error("a model is listed twice.", "models")
        self._check_size()

    def _kinds(self) -> dict[str, str]:
        """Return method -> quantization, pruning or dense."""
        kinds: dict[str, str] = {}
        for number, method in enumerate(self.file.methods):
            try:
                kinds[method] = METHODS.get(method).kind
            except UserError as error:
                raise self.error(str(error), "methods", number) from error
        return kinds

    def _check_size(self) -> None:
        """Refuse a grid that is too large before it is expanded; the count is an upper bound."""
        file = self.file
        rates = len(file.bits) + len(file.sparsity) + len(file.structure) + 1
        seeds = file.seeds if isinstance(file.seeds, int) else len(file.seeds)
        most = len(self.names) * (len(file.methods) * rates + len(file.include)) * seeds
        if most > MAX_CELLS:
            raise self.error(
                f"the grid may have {most} cells; the limit is {MAX_CELLS}. Split it into several"
                " sweeps.",
                "methods",
            )

    def _of_method(self, model: str, method: str) -> Iterable[Recipe]:
        """Expand the file's own axes for one model and method."""
        for fields, place in self._rates(METHODS.get(method).kind):
            yield from self._seeds(model, method, fields, None, place)

    def _rates(self, kind: str) -> Iterable[tuple[dict[str, Any], Place]]:
        """Yield the rates of a kind of method, each with its place in the file."""
        file = self.file
        if kind == "quantization":
            for number, bits in enumerate(file.bits):
                yield {"bits": bits}, ("bits", number)
        elif kind == "pruning":
            structures = file.structure or ("unstructured",)
            for number, structure in enumerate(structures):
                # "unstructured" takes its shares from sparsity, or the default share
                if structure != "unstructured" or not file.sparsity:
                    yield {"structure": structure}, ("structure", number)
            if "unstructured" in structures:
                for number, sparsity in enumerate(file.sparsity):
                    yield {"sparsity": sparsity}, ("sparsity", number)
        else:
            yield {}, ("methods",)

    def _included(self, included: CellFilter, number: int) -> list[Recipe]:
        place = ("include", number)
        if included.method is None:
            raise self.error("include needs a method.", *place)
        if included.model is not None and included.model not in self.names:
            problem = unknown("model of this sweep", included.model, self.names)
            raise self.error(str(problem), *place)
        rate = {"bits", "sparsity", "structure"}
        fields = included.model_dump(include=rate, exclude_none=True)
        chosen = [included.model] if included.model else self.compressed
        return [
            recipe
            for model in chosen
            for recipe in self._seeds(model, included.method, fields, included.seed, place)
        ]

    def _without(self, cells: list[Recipe], excluded: CellFilter, number: int) -> list[Recipe]:
        left = [recipe for recipe in cells if not _matches(excluded, recipe)]
        if len(left) == len(cells):
            raise self.error(
                f"exclude {excluded.model_dump(exclude_none=True)} matches no cell. Remove or"
                " correct it.",
                "exclude",
                number,
            )
        return left

    def _seeds(
        self, model: str, method: str, fields: dict[str, Any], seed: int | None, place: Place
    ) -> list[Recipe]:
        """Build the recipes of one model, method and rate: one per seed, or only `seed`."""
        options = self.file.options.get(method, {})
        of_method = {key: value for key, value in options.items() if key not in OF_RECIPE}
        fields = {key: options[key] for key in OF_RECIPE if key in options} | fields
        file_seeds = self.file.seeds
        seeds = range(file_seeds) if isinstance(file_seeds, int) else file_seeds
        try:
            if seed is not None:
                seeds = (seed,)
            elif not METHODS.get(method).calibrated:
                seeds = (0,)  # without calibration nothing is random
            return [
                recipes.build(model=model, method=method, seed=number, options=of_method, **fields)
                for number in seeds
            ]
        except UserError as error:
            raise self.error(str(error), *place) from error

    def _line(self, place: Place) -> int:
        """Return the line of a place in the file, or of the nearest value around it."""
        node = self.root
        for part in place:
            if isinstance(node, yaml.SequenceNode):
                if not isinstance(part, int) or part >= len(node.value):
                    break
                node = node.value[part]
            elif isinstance(node, yaml.MappingNode):
                values = [value for key, value in node.value if key.value == part]
                if not values:
                    break
                node = values[0]
        return int(node.start_mark.line) + 1


def _matches(wanted: CellFilter, recipe: Recipe) -> bool:
    fields = recipe.model_dump() | {"model": recipe.base_model}
    given = wanted.model_dump(exclude_none=True)
    return all(fields[key] == value for key, value in given.items())
