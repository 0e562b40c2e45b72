"""The two models of a job: where the dense one is, and what is in memory of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from comptrust import config
from comptrust.compression.reload import Watcher
from comptrust.models.sources import Source
from comptrust.tracking import registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from comptrust.models.probe import Predictions
    from comptrust.records import Checkpoint

    Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def local_model(name: str) -> str:
    """Return the folder of a registered `models:/NAME/VERSION`, downloading it if necessary.

    Any other name is returned as it is, for `models.sources` to resolve.
    """
    if not name.startswith("models:/"):
        return name
    version = registry.resolve(name)
    artifact = version.source.rsplit("/", 1)[-1]
    folder = config.cache_dir() / "registry" / f"{version.name}-{version.version}-{artifact}"
    folder.mkdir(parents=True, exist_ok=True)
    return str(registry.download(version.ref, into=folder))


class InMemory(Watcher):
    """What is in memory while one checkpoint is made, probed and evaluated.

    Compression hands over the models that it has loaded, so each is loaded once. Of the dense model
    only the predictions are kept: two models are never in memory together.
    """

    def __init__(self, source: Source, *, wants_dense: bool) -> None:
        self.source = source
        self.wants_dense = wants_dense
        self._predictions: Predictions | None = None
        self._loaded: Loaded | None = None

    def dense(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        from comptrust.models import probe

        self._predictions = probe.predict(model, tokenizer)

    def reloaded(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._loaded = model, tokenizer

    def probe(self, checkpoint: Checkpoint) -> dict[str, float]:
        """Return the metrics of models.probe; those of a dense checkpoint have no divergence."""
        from comptrust.models import loading, probe

        if self.wants_dense and self._predictions is None:
            self.dense(*loading.load(self.source.path))  # freed before the next one is loaded
        self._loaded = self._loaded or loading.load(Path(checkpoint.path))
        return probe.metrics(probe.predict(*self._loaded), self._predictions)

    def take(self, checkpoint: Checkpoint) -> Loaded:
        """Return the checkpoint's model, and let go of it."""
        from comptrust.models import loading

        loaded = self._loaded or loading.load(Path(checkpoint.path))
        self._loaded = self._predictions = None
        return loaded
