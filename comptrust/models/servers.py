"""Which server loads what compression writes: one table, for refusals, `list` and the docs.

The rows of vLLM on a GPU were read in the source of its wheel and not run; the others were tried
(docs/compression.md, "What loads where").
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comptrust.errors import UserError, unknown
from comptrust.models.formats import DEFAULT

SERVERS = {
    "vllm": "vLLM 0.32 on an NVIDIA GPU",
    "vllm-cpu": "vLLM 0.32 on a CPU",
    "transformers": "transformers 5.17 with compressed-tensors",
    "llama.cpp": "llama.cpp",
}
INTEGERS = ("gptq", "rtn", "autoround", "awq")
"""Methods whose weights are integers of a few bits, packed."""
YES = ""
"""The server loads it; any other text says why not."""
FOUR_BITS = "it computes quantized integers at 4 bits only. Use bits 4"
NO_STATIC = "its kernel takes no static scales. Use scheme dynamic or block"
CACHE_UNTRIED = "an FP8 cache was not tried there. Leave out kv_cache"
NO_FP4 = "it has no kernel for floats of 4 bits. Use gptq, awq or rtn at 4 bits"
GPTQMODEL = f"it needs gptqmodel to read this format. Use format {DEFAULT}"
ONLY_GGUF = "it reads only GGUF files. Use another server"
NO_GGUF = f"it reads no GGUF files. Use format {DEFAULT}"


@dataclass(frozen=True)
class Row:
    """One kind of checkpoint, and what each server makes of it."""

    about: str
    methods: tuple[str, ...]
    bits: tuple[int | None, ...]
    vllm: str
    vllm_cpu: str
    transformers: str
    llama_cpp: str = ONLY_GGUF
    format: str = DEFAULT
    variants: tuple[str, ...] = ("",)
    """Which option of the method decides, as `_variant` names it."""

    def answer(self, server: str) -> str:
        """Return YES, or why the server does not load this kind."""
        return str(getattr(self, server.replace("-", "_").replace(".", "_")))


TABLE = (
    Row(
        about="dense, or pruned (served as dense)",
        methods=("none", "magnitude", "sparsegpt", "wanda"),
        bits=(None,),
        vllm=YES,
        vllm_cpu=YES,
        transformers=YES,
    ),
    Row("4 bits", INTEGERS, (4,), YES, YES, YES),
    Row("3, 5, 6 and 8 bits", INTEGERS, (3, 5, 6, 8), YES, FOUR_BITS, YES),
    Row(
        "dynamic or block, 2:4 too (served as dense)",
        ("fp8",),
        (8,),
        YES,
        YES,
        YES,
        variants=("scheme dynamic", "scheme block"),
    ),
    Row("static", ("fp8",), (8,), YES, NO_STATIC, YES, variants=("scheme static",)),
    Row("8 bits, activations too", ("w8a8",), (8,), YES, YES, YES),
    Row(
        "with kv_cache fp8",
        ("fp8", "w8a8"),
        (8,),
        YES,
        CACHE_UNTRIED,
        YES,
        variants=("kv_cache fp8",),
    ),
    Row(
        "floats of 4 bits",
        ("nvfp4", "mxfp4"),
        (4,),
        YES,
        NO_FP4,
        YES,
        variants=("scheme w4a4", "scheme w4a16", "kv_cache fp8"),
    ),
    Row("4 bits", ("gptq",), (4,), YES, YES, GPTQMODEL, format="gptq"),
    Row("8 bits", ("gptq",), (8,), YES, FOUR_BITS, GPTQMODEL, format="gptq"),
    Row("4 bits", ("awq",), (4,), YES, YES, GPTQMODEL, format="awq"),
    Row(
        about="llama.cpp's types",
        methods=("gguf",),
        bits=tuple(range(1, 33)),
        vllm=NO_GGUF,
        vllm_cpu=NO_GGUF,
        transformers=YES,
        llama_cpp=YES,
        format="gguf",
    ),
)


def check(
    server: str, *, method: str, bits: int | None, format: str, options: Mapping[str, Any]
) -> None:
    """Raise UserError if the server cannot load, or is not known to load, what is asked for."""
    shown = named(server)
    why, kind = answer(server, method=method, bits=bits, format=format, options=options)
    if why is None:
        raise UserError(f"It is not known whether {shown} loads {kind}. Name no server.")
    if why:
        raise UserError(f"{shown} cannot load {kind}: {why}.")


def named(server: str) -> str:
    """Return a server as messages name it. Raises UserError, with the closest, if it is unknown."""
    if server not in SERVERS:
        raise unknown("server", server, SERVERS)
    return SERVERS[server]


def answer(
    server: str, *, method: str, bits: int | None, format: str, options: Mapping[str, Any]
) -> tuple[str | None, str]:
    """Return YES, why the server does not load it or None if that is not known; and what it is."""
    kind = f"what method {method} writes" + (f" at {bits} bits" if bits else "")
    kind += "" if format == DEFAULT else f" in format {format}"
    variant = _variant(options)
    kind += f" with {variant}" if variant else ""
    for row in TABLE:
        named = row.format == format.partition(":")[0] and method in row.methods
        if named and bits in row.bits and variant in row.variants:
            return row.answer(server), kind
    return None, kind


def _variant(options: Mapping[str, Any]) -> str:
    """Return the option that decides beside method, bits and format; empty if none does."""
    if options.get("kv_cache", "none") != "none":
        return f"kv_cache {options['kv_cache']}"
    return f"scheme {options['scheme']}" if "scheme" in options else ""


def about() -> dict[str, str]:
    """Return each server with what it loads."""
    return {
        server: f"{title}: {'; '.join(_loaded(server)) or 'nothing that is written here'}"
        for server, title in SERVERS.items()
    }


def _loaded(server: str) -> Iterator[str]:
    for row in TABLE:
        if row.answer(server) == YES:
            where = "" if row.format == DEFAULT else f", format {row.format}"
            yield f"{', '.join(row.methods)} ({row.about}{where})"


def markdown() -> str:
    """Return the table as docs/compression.md shows it."""
    rows = [("format", "method", "kind", *SERVERS.values()), ("---",) * (3 + len(SERVERS))]
    for row in TABLE:
        answers = (row.answer(server) for server in SERVERS)
        cells = ("yes" if answer == YES else f"no: {answer}" for answer in answers)
        methods = ", ".join(f"`{method}`" for method in row.methods)
        rows.append((f"`{row.format}`", methods, row.about, *cells))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
