"""Plug-ins: files of our own folders, and entry points of other installed packages.

A folder such as `comptrust/compression/methods` is a registry: a plug-in's name is its file name,
its class the CamelCase of it. Another package adds one by an entry point of the same kind:

    [project.entry-points."comptrust.methods"]
    random_mask = "acme_comptrust.masks:RandomMask"
"""

import ast
import importlib
import importlib.util
import keyword
import os
import pkgutil
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from comptrust.errors import UserError, unknown

ALLOWED = "COMPTRUST_PLUGINS"
"""Environment variable: the packages whose plug-ins may be loaded, separated by commas."""
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Registry:
    """All plug-ins of one kind."""

    kind: str
    """The word for one in messages: method, dimension, rule, ..."""
    package: str
    """The folder of ours whose files are plug-ins."""
    group: str
    """The entry-point group by which other packages add theirs."""
    verb: str
    """The method that every class of this kind has."""

    def names(self) -> tuple[str, ...]:
        """List the plug-ins, sorted, without importing one. Raises UserError for names amiss."""
        return tuple(sorted({*_own(self.package), *self._added()}))

    def get(self, name: str) -> Any:
        """Import a plug-in and return its class. Raises UserError, with the nearest name."""
        if name not in self.names():
            raise unknown(self.kind, name, self.names())
        if entry := self._added().get(name):
            return self._of_package(entry)
        plugin = getattr(importlib.import_module(f"{self.package}.{name}"), class_name(name))
        if not self._fits(plugin):
            raise UserError(
                f"Class '{class_name(name)}' of {self.package}.{name} is not a {self.kind}: it has"
                f" no method '{self.verb}'. Add it or move the file out of this folder."
            )
        return plugin

    def summary(self, name: str) -> str:
        """Return the first line of a plug-in's docstring, unimported, or the package of it."""
        if entry := self._added().get(name):
            return f"(package {' '.join(self.provider(name) or (_package(entry),))})"
        spec = importlib.util.find_spec(f"{self.package}.{name}")
        source = Path(str(spec and spec.origin)).read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def provider(self, name: str) -> tuple[str, str] | None:
        """Return the name and version of the package that adds a plug-in; None if it is ours."""
        entry = self._added().get(name)
        return (_package(entry), entry.dist.version) if entry and entry.dist else None

    def _added(self) -> Mapping[str, EntryPoint]:
        return _added(self, os.environ.get(ALLOWED))

    def _of_package(self, entry: EntryPoint) -> Any:
        """Import a class of another package, whose code can fail in any way."""
        package = _package(entry)
        fix = f"Fix or uninstall the package: pip uninstall {package}"
        try:
            plugin = entry.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(
                f"The {self.kind} '{entry.name}' of package '{package}' cannot be loaded"
                f" ({reason:.300}). {fix}"
            ) from error
        if not self._fits(plugin):
            raise UserError(
                f"'{entry.value}' of package '{package}' is not a {self.kind}: it is not a class"
                f" with a method '{self.verb}'. {fix}"
            )
        if (own := getattr(plugin, "name", entry.name)) != entry.name:
            raise UserError(
                f"Package '{package}' adds the {self.kind} '{entry.name}', but its class is named"
                f" '{own}'. The two must be equal. {fix}"
            )
        return plugin

    def _fits(self, plugin: object) -> bool:
        return isinstance(plugin, type) and callable(getattr(plugin, self.verb, None))


def packages(used: Iterable[tuple[Registry, str]]) -> dict[str, str]:
    """Return the other packages (name -> version) that provide any of these plug-ins."""
    providers = (registry.provider(name) for registry, name in used)
    return dict(sorted(provider for provider in providers if provider))


def class_name(name: str) -> str:
    """Return the class that a plug-in file holds; a Python keyword gets an underscore.

    >>> class_name("adv_robustness"), class_name("none")
    ('AdvRobustness', 'None_')
    """
    camel = "".join(part.capitalize() for part in name.split("_"))
    return f"{camel}_" if keyword.iskeyword(camel) else camel


@cache
def _own(package: str) -> frozenset[str]:
    """Return the file names of a folder of ours, and check their classes without importing them."""
    folder = importlib.import_module(package).__path__[0]
    modules = [module.name for module in pkgutil.iter_modules([folder])]
    for name in modules:
        path = Path(folder, f"{name}.py")
        wanted = rf"^class {class_name(name)}\b"
        if path.is_file() and not re.search(wanted, path.read_text(encoding="utf-8"), re.MULTILINE):
            raise UserError(
                f"{path} has no class '{class_name(name)}'. Every file of this folder is a plug-in"
                " whose class is the CamelCase of its name. Rename the class or move the file."
            )
    return frozenset(modules)


@cache
def _added(registry: Registry, allowed: str | None) -> Mapping[str, EntryPoint]:
    """Return what other packages add; `allowed` is COMPTRUST_PLUGINS, None where it is unset."""
    trusted = None if allowed is None else {_canonical(name) for name in allowed.split(",")}
    ours = _own(registry.package)
    added: dict[str, EntryPoint] = {}
    for entry in entry_points(group=registry.group):
        package = _package(entry)
        if trusted is not None and _canonical(package) not in trusted:
            continue
        if not NAME.fullmatch(entry.name):
            raise UserError(
                f"Package '{package}' adds a {registry.kind} named '{entry.name}'. A name has"
                " lower-case letters, digits and underscores only. Fix or uninstall the package."
            )
        if entry.name in ours or entry.name in added:
            other = (
                "comptrust" if entry.name in ours else f"package '{_package(added[entry.name])}'"
            )
            raise UserError(
                f"Two {registry.kind}s are named '{entry.name}': one of {other} and one of package"
                f" '{package}'. Uninstall one of them: pip uninstall {package}"
            )
        added[entry.name] = entry
    return added


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module.partition(".")[0]


def _canonical(package: str) -> str:
    """Return the one spelling of a package name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package.strip()).lower()
