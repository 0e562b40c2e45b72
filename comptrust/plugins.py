"""The folder is the registry: a plugin's name is its file name, its class the CamelCase of it."""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import pkgutil
from functools import cache
from typing import Any

from comptrust.errors import unknown


@cache
def names(package: str) -> tuple[str, ...]:
    """List the plugins of a package, sorted, without importing any of them.

    Names that start with an underscore are helpers, not plugins.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No package '{package}'.")
    found = (module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def get(package: str, name: str, *, kind: str) -> Any:
    """Import one plugin and return its class.

    `kind` is the word for it in messages ("method", "dimension", ...).
    Raises UserError with the nearest name if there is none of that name.
    """
    if name not in names(package):
        raise unknown(kind, name, names(package))
    module = importlib.import_module(f"{package}.{name}")
    return getattr(module, class_name(name))


def class_name(name: str) -> str:
    """Return the class that a plugin file holds; a Python keyword gets an underscore.

    >>> class_name("adv_robustness"), class_name("none")
    ('AdvRobustness', 'None_')
    """
    camel = "".join(part.capitalize() for part in name.split("_"))
    return f"{camel}_" if keyword.iskeyword(camel) else camel
