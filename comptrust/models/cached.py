"""Model folders that are converted once and kept in the cache."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from comptrust import config, locks
from comptrust.errors import show


def folder(name: str) -> Path:
    """Return where the cache keeps the model folder `name`."""
    return config.cache_dir() / "models" / name


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cached model folder `name`; `make` fills a new folder if there is none yet."""
    target = folder(name)
    with locks.alone(Path(f"{target}.lock")):
        if not target.is_dir():
            try:
                with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
                    new = Path(temporary) / target.name
                    show(new, target)
                    make(new)
                    new.rename(target)
            except OSError as error:
                raise locks.unusable(target.parent, error) from error
    return target
