"""What no client may reach through the artifact routes: the server's own files."""

import configparser
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from comptrust.errors import UserError
from comptrust.gate.enforcement import files, settings
from comptrust.gate.enforcement.settings import Settings

AUTH_CONFIG = "MLFLOW_AUTH_CONFIG_PATH"


def require(
    loaded: Settings, databases: Sequence[str], artifacts: Path, *, environment: Mapping[str, str]
) -> None:
    """Raise UserError if the artifact folder, or a vouched place, has the server's own files.

    Clients write to the one, and the server reads the other for them.
    """
    served = {"--artifacts-destination": artifacts.resolve()}
    served |= {
        f"--artifact-root {root}": place
        for root in loaded.artifact_roots
        if (place := files.local(root))
    }
    for what, path in _private(loaded, databases, environment):
        for option, place in served.items():
            if path.resolve().is_relative_to(place) or place.is_relative_to(path.resolve()):
                raise UserError(
                    f"The {what} {path} and the folder {place} ({option}) must be apart, because"
                    " clients reach that folder. Choose another one."
                )


def _private(
    loaded: Settings, databases: Sequence[str], environment: Mapping[str, str]
) -> Iterator[tuple[str, Path]]:
    accounts = environment.get(AUTH_CONFIG)
    named = {
        "audit log": loaded.audit_log,
        "evidence store": loaded.evidence,
        "folder of trusted keys": loaded.trusted_keys,
        "configuration of accounts": Path(accounts) if accounts else None,
        "Python environment": Path(sys.prefix),
        "package": Path(__file__).parents[2],
    }
    yield from ((what, path) for what, path in named.items() if path)
    for variable in settings.POLICY.values():
        policy = Path(environment.get(variable, ""))
        if policy.is_file():
            yield "policy", policy
    ini = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error):  # MLflow says what is wrong with it
        ini.read(accounts or ())
    of_accounts = ini.get("mlflow", "database_uri", fallback="sqlite:///basic_auth.db")
    for uri in dict.fromkeys([*databases, of_accounts]):
        kind, _, path = uri.partition(":///")
        if kind.partition("+")[0] == "sqlite":
            yield "database", Path(path.partition("?")[0])
