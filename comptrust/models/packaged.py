"""What is loaded of a registered version must be the checkpoint that was judged.

Only its folder `model` is evaluated. But MLmodel says what MLflow loads, which could be another
folder, an adapter, code or a model of the Hub, and the tokenizer comes from `components`.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from comptrust import config
from comptrust.errors import UserError
from comptrust.models import gguf
from comptrust.models.loading import OF_THIS_MACHINE, PICKLED

KNOWN = {
    "python_function": {"env", "loader_module", "python_version"},
    "transformers": {
        *("code", "components", "framework", "inference_task", "instance_type", "model_binary"),
        *("pipeline_model_type", "source_model_name", "task", "tokenizer_type", "torch_dtype"),
        "transformers_version",
    },
}
"""Flavor -> fields that MLflow writes for a checkpoint, none of which loads anything else."""
FIXED = {"loader_module": "mlflow.transformers", "model_binary": "model", "code": None}
OTHER_WEIGHTS = (*PICKLED, "*.gguf", "*.h5", "*.msgpack", "*.onnx", "adapter_config.json")
"""Weights that some program loads instead of the measured ones, or on top of them."""


class MLmodel(BaseModel):
    """The part of MLmodel that says how to load a model."""

    flavors: dict[str, dict[str, Any]]
    metadata: dict[Any, Any] | None = None


def check(registered: Path) -> None:
    """Raise UserError for the first thing in a version's folder that could be loaded instead."""
    model = registered / "model" if (registered / "model").is_dir() else registered
    measured = gguf.file_in(model)
    for path in (path for pattern in OTHER_WEIGHTS for path in model.rglob(pattern)):
        if path != measured:
            raise _other(f"{path.name} holds weights that are not measured")
    if not (registered / "MLmodel").exists():
        return  # a checkpoint alone
    described = config.load_yaml(registered / "MLmodel", MLmodel)
    for flavor, fields in described.flavors.items():
        needed = {"model_binary": None} if flavor == "transformers" else {}
        for name, value in (needed | fields).items():
            if name not in KNOWN.get(flavor, ()) or FIXED.get(name, value) != value:
                raise _other(f"MLmodel has {name} in its flavor {flavor}")
    if "prompt_template" in (described.metadata or {}):
        raise _other("MLmodel has a prompt_template")
    for path in filter(Path.is_file, (registered / "components").rglob("*")):
        judged = model.joinpath(*path.relative_to(registered).parts[2:])
        if not judged.is_file() or _content(path) != _content(judged):
            raise _other(f"{path.relative_to(registered)} is not the file of the folder model")


def _content(path: Path) -> Any:
    """Return what a file says, on whatever machine it was written."""
    if path.name != "tokenizer_config.json":
        return path.read_bytes()
    settings = config.read_json(path)
    return {name: settings[name] for name in dict(settings) if name not in OF_THIS_MACHINE}


def _other(what: str) -> UserError:
    return UserError(
        f"{what}, so something else could be loaded than what was evaluated. Register the"
        " checkpoint with `comptrust register`, and gate that version."
    )
