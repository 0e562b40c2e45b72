"""What a server cannot load is refused before work, and every method has an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.compression.base import METHODS
from comptrust.compression.recipe import build
from comptrust.errors import UserError
from comptrust.models import formats, servers
from comptrust.sweep import grid

ROOT = Path(__file__).parents[2]


def variants(method: str) -> list[dict[str, str]]:
    """Return the options that decide what a server makes of a method's checkpoints."""
    fields = METHODS.get(method).model_fields
    schemes = (
        [{"scheme": name} for name in get_args(fields["scheme"].annotation)]
        if ("scheme" in fields)
        else [{}]
    )
    return schemes + ([{"kv_cache": "fp8"}] if "kv_cache" in fields else [])


WRITTEN = [
    (method, bits, format, options)
    for method in METHODS.names()
    if method != "gguf"  # read, never written
    for bits in METHODS.get(method).bits_known or (None,)
    for format in (formats.DEFAULT, *formats.LAYOUTS)
    if format == formats.DEFAULT
    or (format == method and bits in formats.LAYOUTS[format].bits_written)
    for options in variants(method)
]


@pytest.mark.parametrize(("method", "bits", "format", "options"), WRITTEN)
def test_all_that_is_written_has_one_answer_for_each_server(
    method: str, bits: int | None, format: str, options: dict[str, str]
) -> None:
    rows = [
        row
        for row in servers.TABLE
        if row.format == format and method in row.methods and bits in row.bits
        if (" ".join(*options.items()) if options else "") in row.variants
    ]
    assert len(rows) == 1
    for server in servers.SERVERS:
        refusal = ""
        fields: dict[str, Any] = {"bits": bits, "format": format, "options": options}
        try:
            build(model="m", method=method, server=server, **fields)
        except UserError as error:
            refusal = str(error)
        assert bool(refusal) == (rows[0].answer(server) != servers.YES)
        assert "not known" not in refusal and "\n" not in refusal


@pytest.mark.parametrize(
    ("server", "method", "bits", "format", "message"),
    [
        ("vllm-cpu", "gptq", 8, formats.DEFAULT, "vLLM 0.32 on a CPU cannot load.*Use bits 4"),
        ("vllm-cpu", "awq", 3, formats.DEFAULT, "what method awq writes at 3 bits.*Use bits 4"),
        ("vllm-cpu", "gptq", 8, "gptq", "in format gptq: .*Use bits 4"),
        ("transformers", "awq", 4, "awq", "gptqmodel.*Use format compressed-tensors"),
        ("llama.cpp", "none", None, formats.DEFAULT, "only GGUF files"),
        ("vllm-gpu", "gptq", 4, formats.DEFAULT, "Unknown server 'vllm-gpu'. Did you mean"),
    ],
)
def test_a_refusal_says_what_to_use_instead(
    server: str, method: str, bits: int | None, format: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(model="m", method=method, bits=bits, format=format, server=server)


def test_a_method_of_another_package_is_not_promised() -> None:
    with pytest.raises(UserError, match=r"not known whether vLLM .* what method acme writes\."):
        servers.check("vllm", method="acme", bits=None, format=formats.DEFAULT, options={})


@pytest.mark.parametrize("command", ["compress", "run"])
def test_the_commands_refuse_before_work(command: str, tmp_path: Path) -> None:
    words = f"{command} --model ./no-such-model --method gptq --bits 8 --for vllm-cpu --out"
    done = CliRunner().invoke(comptrust, [*words.split(), str(tmp_path / "out")])
    assert isinstance(done.exception, UserError), done.output
    assert "vLLM 0.32 on a CPU cannot load what method gptq writes at 8 bits" in str(done.exception)
    assert not any(tmp_path.iterdir())


def test_a_sweep_names_the_line_of_what_its_server_cannot_load(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("models: [org/model]\nmethods: [gptq]\nbits:\n  - 4\n  - 8\nfor: vllm-cpu\n")
    with pytest.raises(UserError, match=r"study\.yaml, line 5: vLLM 0\.32 on a CPU cannot load"):
        grid.load(str(path))
    path.write_text(path.read_text().replace("vllm-cpu", "vllm"))
    assert [recipe.slug for recipe in grid.load(str(path)).recipes][:2] == ["dense", "gptq-4bit-s0"]


def test_the_documented_table_is_the_one_that_refuses() -> None:
    assert servers.markdown() in (ROOT / "docs" / "compression.md").read_text()
