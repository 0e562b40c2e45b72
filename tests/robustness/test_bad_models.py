"""Robustness against model folders that are damaged, or that try to run code.

Each is refused in one line, no code is run, and no file is left behind.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell

COMPRESS = (
    "compress",
    "--method",
    "magnitude",
    "--structure",
    "2:4",
    "--model",
    "model",
    "--out",
    "out",
)
EVALUATE = ("evaluate", "model", "--dimensions", "ethics", "--limit", "1", "--out", "out")


@pytest.fixture
def model(shell: Shell, tiny_model: Path) -> Iterator[Path]:
    """A copy of the tiny model in the shell's folder."""
    folder = shell.folder / "model"
    shutil.copytree(tiny_model, folder)
    yield folder
    shutil.rmtree(folder)


def _settings(folder: Path, name: str = "config.json", **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _pickled(folder: Path) -> None:
    """Replace the weights with ones that create a file named `owned` when they are unpickled."""

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (folder.parent / "owned",)

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Attack()))


def _remote_code(folder: Path) -> None:
    """Refer to a class in a file of the folder, as models with their own code do."""
    (folder / "own.py").write_text(f"open({str(folder.parent / 'owned')!r}, 'w')\nclass Own: ...\n")
    _settings(
        folder,
        model_type="own",
        architectures=["Own"],
        auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"},
    )


def _remote_tokenizer(folder: Path) -> None:
    (folder / "own.py").write_text(f"open({str(folder.parent / 'owned')!r}, 'w')\nclass Own: ...\n")
    _settings(
        folder,
        "tokenizer_config.json",
        tokenizer_class="Own",
        auto_map={"AutoTokenizer": ["own.Own", None]},
    )


UNTRUSTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickle": (_pickled, "pickle"),
    "remote code": (_remote_code, "code of its own"),
    "remote tokenizer": (_remote_tokenizer, "code of its own"),
}
DAMAGED: dict[str, Callable[[Path], object]] = {
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "empty weights": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "torn weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:5000]
        )
    ),
    "weights of another kind": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"PK\x03\x04" * 100)
    ),
    "a header that is too long": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    ),
    "another shape": lambda folder: _settings(folder, hidden_size=32),
    "no layers": lambda folder: _settings(folder, num_hidden_layers=0),
    "negative size": lambda folder: _settings(folder, hidden_size=-64),
    "huge size": lambda folder: _settings(folder, vocab_size=10**15),
    "no number": lambda folder: _settings(folder, hidden_size="wide"),
    "unknown architecture": lambda folder: _settings(folder, model_type="nothing-known"),
    "config empty": lambda folder: (folder / "config.json").write_text(""),
    "config a list": lambda folder: (folder / "config.json").write_text("[]"),
    "config deep": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "config no UTF-8": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe{}"),
    "quantization of another kind": lambda folder: _settings(folder, quantization_config=[4]),
    "no tokenizer": lambda folder: [path.unlink() for path in folder.glob("*token*")],
    "tokenizer torn": lambda folder: (folder / "tokenizer.json").write_text('{"version":'),
    "broken chat template": lambda folder: (folder / "chat_template.jinja").write_text("{% for %}"),
    "chat template that runs code": (
        lambda folder: (folder / "chat_template.jinja").write_text(
            "{{ messages.__class__.__mro__[1].__subclasses__() }}"
        )
    ),
}


@pytest.mark.parametrize("name", UNTRUSTED)
@pytest.mark.parametrize("command", [COMPRESS, EVALUATE], ids=["compress", "evaluate"])
def test_code_in_a_model_folder_is_never_run(
    name: str, command: tuple[str, ...], model: Path, shell: Shell
) -> None:
    damage, sentence = UNTRUSTED[name]
    damage(model)
    told = shell(*command)
    assert (told.code, told.out) == (2, ""), told.err
    assert sentence in told.err.splitlines()[-1]
    assert not (shell.folder / "out").exists()
    assert not (shell.folder / "owned").exists()


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_model_is_refused(name: str, model: Path, shell: Shell) -> None:
    DAMAGED[name](model)
    shell.refused(*EVALUATE)


def test_trust_remote_code_is_no_option(shell: Shell) -> None:
    assert "--trust-remote-code" in shell.refused(*EVALUATE, "--trust-remote-code")
