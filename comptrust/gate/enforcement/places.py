"""Where the files of runs and versions are, and which places this server alone can write."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import RunInfo
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import files

EVALUATED_BY = "evaluated_by"
"""Tag of a version: the run whose evaluation counts.

Anyone may set it, which is harmless: the attestation found there names its own run.
"""


def run_of(version: ModelVersion) -> str:
    """Return the run whose evaluation counts for a version; empty if it has none."""
    return (version.tags or {}).get(EVALUATED_BY) or version.run_id or ""


class Places:
    """Reads the files of runs and versions. Every method raises UserError for a bad place."""

    def __init__(
        self,
        roots: Sequence[str],
        tracking: Callable[[], MlflowClient],
        version_of: Callable[[str, str], ModelVersion],
    ) -> None:
        self._roots, self.tracking, self._version_of = roots, tracking, version_of
        self.memory = digests.Memory({})

    def vouched(self, uri: str) -> bool:
        """Whether the operator guarantees that nobody else can change files at an address."""
        return any(files.below(uri, root) for root in self._roots)

    def fetch(self, run_id: str, names: tuple[str, ...], into: Path) -> Path:
        """Copy those of the named files that a run has, and return the folder."""
        return files.fetch(
            self.run(run_id).artifact_uri, names, into, tracking=self.tracking().tracking_uri
        )

    def hashed(self, version: ModelVersion, uri: str, temporary: Path) -> files.Snapshot:
        """Hash every file of a version, which must be where only this server can change it."""
        if files.in_server() and (why := files.ambiguous(uri)):
            raise UserError(
                f"Its files are at {uri}, but {why}, so it could be read in two ways. Log the"
                " model again."
            )
        folder = files.local(uri)
        vouched = self.vouched(uri)
        if vouched and folder is None:
            parent, _, name = uri.rpartition("/")
            folder = files.fetch(parent, (name,), temporary / "weights") / name
        elif files.in_server() and not vouched:
            self._require_served(version, uri, folder)
        if folder is None:
            raise UserError(
                f"Its files are at {uri}, where others can change them. Log the model through this"
                " server and register it again."
            )
        return files.snapshot(folder, self.memory, vouched=vouched)

    def _require_served(self, version: ModelVersion, uri: str, folder: Path | None) -> None:
        """Raise UserError unless the files can be written through this server alone.

        Only then can it refuse to change them once they are promoted.
        """
        root = files.destination()
        if root is None or not files.frozen():
            raise UserError(
                "This server's artifact folder does not protect promoted files. Start it with"
                " `comptrust serve`."
            )
        if folder is None or not folder.is_relative_to(root):
            raise UserError(
                f"Its files are at {uri}, outside this server's artifact folder. Log the model"
                " through this server."
            )
        # The address is compared, not parsed: it is the one that the server itself gave out.
        model_ids = {version.model_id, *(part for part in uri.split("/") if part.startswith("m-"))}
        if uri in map(self._of_logged_model, filter(None, model_ids)):
            return
        if not uri.startswith(f"{files.PROXIED}:"):
            raise UserError(
                "Its files are in a run's folder, which others can write to. Log it with"
                " mlflow.transformers.log_model."
            )
        if not uri.startswith(f"{self.run(version.run_id or '').artifact_uri}/"):
            raise UserError(
                f"Its files are at {uri}, which is the place of neither a logged model nor of the"
                " version's run. Register the logged model."
            )

    def _of_logged_model(self, model_id: str) -> str | None:
        try:
            return str(self.tracking().get_logged_model(model_id).artifact_location)
        except MlflowException:
            return None

    def of_sibling(self, ref: str) -> str:
        """Return the run of a signed sibling (`models:/...`)."""
        name, _, number = ref.removeprefix("models:/").rpartition("/")
        try:
            return run_of(self._version_of(name, number))
        except MlflowException as error:
            raise UserError(f"Its signed sibling {ref} is gone. Gate it again.") from error

    def run(self, run_id: str) -> RunInfo:
        """Return what the tracking store says about a run."""
        try:
            return self.tracking().get_run(run_id).info
        except MlflowException as error:
            raise UserError(f"Its run {run_id} cannot be read: {error.message}.") from error
