"""Compare a running OpenAI-compatible server with what a verdict judged, as far as it tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from comptrust import digests
from comptrust.compression import checkpoint
from comptrust.models.endpoint import Endpoint
from comptrust.records import NOT_TOLD, Result
from comptrust.trust.evaluation import Evaluation

State = Literal["matches", "differs", "not told"]
PATIENCE_SECONDS = 5.0
ABOUT = ("version", "props", "info", "get_server_info")
"""Pages on which vLLM, llama.cpp, TGI and SGLang say what they serve."""


@dataclass(frozen=True)
class Fact:
    """One thing that the verdict rests on, and what the server says of it."""

    name: str
    state: State
    judged: str
    served: str

    def __str__(self) -> str:
        return f"{self.state}: {self.name}: judged {self.judged}, served {self.served}"


class _Server(Endpoint):
    """What a server says of itself and of one model."""

    def about_all(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return all that it tells; of several models only one of these names counts."""
        root = self.url.removesuffix("/v1")
        told: dict[str, Any] = {}
        for page in ABOUT:
            told |= {key: value for key, value in self._get(f"{root}/{page}").items() if value}
        listed = self._get(f"{root}/v1/models").get("data")
        entries = [entry for entry in listed or [] if isinstance(entry, dict)]
        named = [entry for entry in entries if entry.get("id") in names]
        if len(entries) == 1 or named:
            told |= (named or entries)[0]
        return told


def check(url: str, measured: Evaluation, manifest: Mapping[str, str]) -> tuple[Fact, ...]:
    """Compare a server with an evaluation and the hashes of its checkpoint's files.

    The bytes are compared where the server names a local path that is one on this machine, too.
    Raises UserError for a URL that is not one, ServiceError if no server answers.
    """
    recipe = measured.recipe
    provenance = measured.scorecard.provenance
    base = recipe.base_model if recipe else ""
    names = (provenance.get("model", ""), provenance.get("served_model", ""), base)
    told = _Server(url, patience=PATIENCE_SECONDS).about_all(tuple(filter(None, names)))
    return (_engine(told, provenance), _dtype(told, provenance), _model(told, manifest, base))


def outcome(facts: tuple[Fact, ...]) -> Result:
    """Return a block if anything differs; a pass only if the server told everything."""
    states = {fact.state for fact in facts}
    if "differs" in states:
        return "block"
    return "inconclusive" if "not told" in states else "pass"


def _engine(told: Mapping[str, Any], provenance: Mapping[str, str]) -> Fact:
    judged = provenance.get("server_version", "").replace(NOT_TOLD, "")
    if provenance.get("backend") == "hf":
        judged = f"transformers {provenance.get('transformers', '')}".strip()
    version = told.get("version") or told.get("build_info")
    served = f"{told.get('owned_by') or 'server'} {version}" if version else ""
    return _compared("engine", judged, served)


def _dtype(told: Mapping[str, Any], provenance: Mapping[str, str]) -> Fact:
    judged = provenance.get("dtype", "").replace(NOT_TOLD, "")
    served = str(told.get("dtype") or told.get("model_dtype") or "")
    return _compared("dtype", judged.removeprefix("torch."), served.removeprefix("torch."))


def _model(told: Mapping[str, Any], manifest: Mapping[str, str], base: str) -> Fact:
    """Compare the served bytes, else at least notice that the dense source is served instead."""
    judged = digests.of_value(dict(manifest))
    place = str(told.get("model_path") or told.get("root") or told.get("id") or "")
    path = Path(place)
    state: State = "differs" if place and place == base else NOT_TOLD
    if path.is_absolute() and path.is_file():
        state = "matches" if digests.of_file(path) in manifest.values() else "differs"
    elif path.is_absolute() and path.is_dir():
        present = digests.of_folder(path, leave_out=[checkpoint.NAME])
        state = "matches" if present == manifest else "differs"
    return Fact("model", state, f"files {judged[:12]}", place or NOT_TOLD)


def _compared(name: str, judged: str, served: str) -> Fact:
    state: State = NOT_TOLD
    if judged and served:
        state = "matches" if judged.casefold() == served.casefold() else "differs"
    return Fact(name, state, judged or "not stated", served or NOT_TOLD)
