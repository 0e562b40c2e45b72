"""A grid: a sweep file expanded into models x methods x rates x seeds, one recipe per cell."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from comptrust import config
from comptrust.compression import recipe as recipes
from comptrust.compression.base import METHODS
from comptrust.errors import UserError, unknown
from comptrust.records import Recipe, Record
from comptrust.sweep.sweep_file import CellFilter, SweepFile, models

OF_RECIPE = ("group_size", "calibration", "calibration_samples", "save_dtype")
"""What `options` may set beside the settings of the method itself."""
MAX_CELLS = 10_000
FIXED = "fixed"
"""The kind of a method that quantizes to bits of its own."""
Place = tuple[str | int, ...]
"""Keys and indexes that lead to a value in the file, such as ("bits", 1)."""


class Grid(Record):
    """A sweep file with its recipes, the dense ones first."""

    file: SweepFile
    recipes: tuple[Recipe, ...]


def load(name: str) -> Grid:
    """Read and expand a sweep, shipped or a file. Raises UserError naming file and line."""
    path = config.shipped_or_file(name, kind="sweep")
    file = config.load_yaml(path, SweepFile)
    file = file.model_copy(update={"name": file.name or path.stem})
    return Grid(file=file, recipes=_Expansion(file, path).recipes())


def _kind(method: str) -> str:
    chosen = METHODS.get(method)
    return FIXED if len(chosen.bits_known) == 1 else str(chosen.kind)


class _Expansion:
    """Builds the recipes of a file, and knows the line of each mistake."""

    def __init__(self, file: SweepFile, path: Path) -> None:
        self.file, self.path = file, path
        self.names = [model.name for model in models(file)]
        self.compressed = self.names[: len(file.models)]
        self.seeds = range(file.seeds) if isinstance(file.seeds, int) else file.seeds
        self.root: Any = yaml.compose(config.read_text(path))

    def recipes(self) -> tuple[Recipe, ...]:
        file = self.file
        self._check()
        cells = [
            recipe
            for method in file.methods
            for model in self.compressed
            for fields, place in self._rates(_kind(method))
            for recipe in self._seeds(model, method, fields, place)
        ]
        for number, included in enumerate(file.include):
            cells += self._included(included, ("include", number))
        for number, excluded in enumerate(file.exclude):
            given = excluded.model_dump(exclude_none=True)
            kept = [
                recipe
                for recipe in cells
                if not given.items() <= {**recipe.model_dump(), "model": recipe.base_model}.items()
            ]
            if len(kept) == len(cells):
                raise self.error(
                    f"exclude {given} matches no cell. Remove or correct it.", "exclude", number
                )
            cells = kept
        dense_only = self.names[len(self.compressed) :]
        if not cells and not dense_only:
            raise self.error(
                "the grid has no cell. Give models and methods (with bits, sparsity or structure),"
                " or include.",
                "methods",
            )
        # Every compressed model is compared with its dense source, so that is a cell as well. What
        # stops early asks the dense model itself, and only what it needs.
        compared = [recipe.base_model for recipe in cells] if self.file.stop == "full" else []
        sources = dict.fromkeys([*compared, *dense_only])
        dense = [recipes.build(model=model, method="none") for model in sources]
        # Axes and include may name the same cell; it is run once.
        return tuple({recipe.digest_of_fields(): recipe for recipe in (*dense, *cells)}.values())

    def error(self, what: str, *place: str | int) -> UserError:
        """Build the error with the line of a place in the file, or of the nearest value around."""
        node = self.root
        for part in place:
            # A sequence has its items in `value`, a mapping its pairs of key and value.
            children: Any = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                children = {key.value: value for key, value in children}
            try:
                node = children[part]
            except (LookupError, TypeError):
                break
        return UserError(f"{self.path}, line {node.start_mark.line + 1}: {what}")

    def _check(self) -> None:
        """Refuse what no cell would use: it is a mistake, or a cell that the author expects."""
        file = self.file
        kinds: dict[str, str] = {}
        for number, method in enumerate(file.methods):
            with self._line_of("methods", number):
                kinds[method] = _kind(method)
        for key, kind, does in (
            ("bits", "quantization", "has a choice of bits"),
            ("sparsity", "pruning", "prunes"),
            ("structure", "pruning", "prunes"),
        ):
            if getattr(file, key) and kind not in kinds.values():
                raise self.error(
                    f"{key} is given, but no method {does} (methods: {', '.join(kinds) or 'none'})."
                    " Remove it, or add such a method.",
                    key,
                )
        if file.sparsity and file.structure and "unstructured" not in file.structure:
            raise self.error(
                "sparsity contradicts structure, which fixes the share of zeros. Add unstructured"
                " to structure, or remove one.",
                "sparsity",
            )
        for method, kind in kinds.items():
            if kind == "quantization" and not file.bits:
                known = ", ".join(map(str, METHODS.get(method).bits_known))
                raise self.error(f"method {method} needs bits. Known: {known}.", "methods")
        for method in file.options:
            if method not in {*kinds, *(cell.method for cell in file.include)}:
                raise self.error(
                    f"options for '{method}', which is not a method of this grid. Remove or"
                    " correct it.",
                    "options",
                    method,
                )
        if len(set(self.names)) != len(self.names):
            raise self.error("a model is listed twice.", "models")
        # Refuse a grid that is too large before it is expanded; the count is an upper bound.
        rates = len(file.bits) + len(file.sparsity) + len(file.structure) + 1
        most = len(self.names) * len(self.seeds) * (len(file.methods) * rates + len(file.include))
        if most > MAX_CELLS:
            raise self.error(
                f"the grid may have {most} cells; the limit is {MAX_CELLS}. Split it into several"
                " sweeps.",
                "methods",
            )

    def _rates(self, kind: str) -> list[tuple[dict[str, Any], Place]]:
        """Return the rates of a kind of method, each with its place in the file."""
        if kind in ("dense", FIXED):
            return [({}, ("methods",))]
        file = self.file
        axes: dict[str, tuple[Any, ...]] = {"bits": file.bits}
        if kind == "pruning":
            axes = {"structure": file.structure or ("unstructured",), "sparsity": file.sparsity}
        return [
            ({axis: value}, (axis, number))
            for axis, values in axes.items()
            for number, value in enumerate(values)
            # "unstructured" takes its shares from sparsity, or the default share
            if value != "unstructured" or not file.sparsity
        ]

    def _included(self, included: CellFilter, place: Place) -> list[Recipe]:
        if included.method is None:
            raise self.error("include needs a method.", *place)
        if included.model is not None and included.model not in self.names:
            raise self.error(
                str(unknown("model of this sweep", included.model, self.names)), *place
            )
        fields = included.model_dump(include={"bits", "sparsity", "structure"}, exclude_none=True)
        return [
            recipe
            for model in ([included.model] if included.model else self.compressed)
            for recipe in self._seeds(model, included.method, fields, place, seed=included.seed)
        ]

    def _seeds(
        self,
        model: str,
        method: str,
        fields: dict[str, Any],
        place: Place,
        *,
        seed: int | None = None,
    ) -> list[Recipe]:
        """Build the recipes of one model, method and rate: one per seed, or only `seed`."""
        options = dict(self.file.options.get(method, {}))
        fields = {key: options.pop(key) for key in OF_RECIPE if key in options} | fields
        with self._line_of(*place):
            found = [
                recipes.build(
                    model=model,
                    method=method,
                    seed=number,
                    options=options,
                    server=self.file.server,
                    **fields,
                )
                for number in (self.seeds if seed is None else (seed,))
            ]
            # without calibration nothing is random
            if seed is None and found and found[0].calibration is None:
                return [found[0].model_copy(update={"seed": 0})]
            return found

    @contextmanager
    def _line_of(self, *place: str | int) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            raise self.error(str(error), *place) from error
