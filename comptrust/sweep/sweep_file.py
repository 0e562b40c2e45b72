"""A sweep file as it is written: the axes of a grid, and what its cells share."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from comptrust.models.engines import EngineOptions
from comptrust.records import Dtype, Limit, Record, Scoring, Stop
from comptrust.trust.limit import limit_of


def _quoted(value: object) -> object:
    if isinstance(value, int):
        raise ValueError("YAML reads an unquoted 2:4 as a number in base 60; write it in quotes")
    return value


Structure = Annotated[str, BeforeValidator(_quoted)]


class Model(Record):
    """A dense model, and what is known about it without its files."""

    name: str
    parameters: int | None = Field(default=None, ge=1, le=10**15)
    """Number of weights, for estimates where the files cannot be read."""


class CellFilter(Record):
    """The cells of a grid that have all the given values; `include` needs at least the method."""

    model: str | None = None
    method: str | None = None
    bits: int | None = None
    sparsity: float | None = None
    structure: Structure | None = None
    seed: int | None = None


class Needs(Record):
    """What a process needs of the machine that runs it."""

    cpus: int | Literal["auto"] = Field(default="auto", ge=1, le=10**5)
    """CPUs and threads per cell; auto shares a machine's among the cells that fit on it."""
    memory_gb: float | Literal["auto"] = Field(default="auto", gt=0, le=10**6)
    """Main memory in 10^9 bytes; auto estimates it from the model's size."""
    gpus: float = Field(default=0, ge=0, le=10**4)


class Resources(Needs):
    """What one cell needs of the machine that runs it."""

    compress: Needs | None = None
    """If given, a cell is compressed in a process of its own, which needs this instead."""
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    """Memory of one GPU, which Ray does not know; if given, the estimate must fit into it."""
    retries: int = Field(default=1, ge=0, le=100)
    """How often a cell restarts within one sweep after its process or machine was lost."""


def _limit(value: object) -> object:
    return limit_of(value) if isinstance(value, str) else value


class SweepFile(Record):
    """The file."""

    suite: str = "mini"
    dimensions: tuple[str, ...] | None = None
    limit: Annotated[Limit, BeforeValidator(_limit)] | None = None
    scoring: Scoring = "compressed-trust"
    engine: str = "auto"
    """What answers, in every cell: auto, hf, vllm or another backend; see `run --engine`."""
    dtype: Dtype = "auto"
    template: str | None = None
    template_args: dict[str, bool | int | float | str] = {}
    name: str = ""
    """Defaults to the file's name."""
    description: str = ""
    models: tuple[str | Model, ...] = ()
    dense_only: tuple[str | Model, ...] = ()
    """Models that are only evaluated, such as a smaller one to compare with."""
    methods: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    """Bits per weight, for methods that quantize."""
    sparsity: tuple[float, ...] = ()
    """Shares of zeros without a pattern, for methods that prune."""
    structure: tuple[Structure, ...] = ()
    """Patterns such as "2:4", for methods that prune."""
    seeds: Annotated[int, Field(ge=1, le=1_000)] | tuple[int, ...] = 3
    """Number of calibration seeds (from 0), or a list; methods without calibration need none."""
    options: dict[str, dict[str, bool | int | float | str]] = {}
    """Method -> group_size, calibration, calibration_samples, save_dtype and the method's own."""
    include: tuple[CellFilter, ...] = ()
    exclude: tuple[CellFilter, ...] = ()
    stop: Stop = "full"
    """`early`: each candidate and its dense source answer until every dimension is decided."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    server: str | None = Field(default=None, alias="for")
    """Server that has to load every compressed model; a cell that it cannot load is refused."""
    policy: str | None = None
    """By default the one that runs of the suite are judged under."""
    resources: Resources = Resources()

    @property
    def asking(self) -> EngineOptions:
        """How the models of all cells answer."""
        return EngineOptions(
            engine=self.engine,
            dtype=self.dtype,
            batch_size=self.batch_size,
            template=self.template,
            template_args=self.template_args,
        )


def models(file: SweepFile) -> list[Model]:
    """Return all models of a file as records, those to compress first."""
    return [
        Model(name=model) if isinstance(model, str) else model
        for model in (*file.models, *file.dense_only)
    ]
