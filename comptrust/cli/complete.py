"""Completion of values in the shell; it never prints or raises, and gives what is found quickly."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.tracking import store

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
SECONDS = 1
"""How long a tracking server may take to answer."""
WITH_ARGUMENT = ("decodingtrust", "hf")
"""Suites whose name goes on with a colon."""


def fixed(*values: str) -> Complete:
    """Complete one of these values."""
    return lambda ctx, param, incomplete: _matching(dict.fromkeys(values, ""), incomplete)


def names(
    kind: str, *, also: Iterable[str] = (), files: bool = False, several: bool = False
) -> Complete:
    """Complete the names of a kind of `comptrust list`, those in `also`, and maybe `files`.

    `several` names are separated by commas.
    """

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from comptrust.cli.commands import list_

        lines = dict.fromkeys(also, "")
        with suppress(Exception):
            lines |= list_.lines(kind)
        if kind == "suites":
            lines = {
                f"{name}:" if name in WITH_ARGUMENT else name: text for name, text in lines.items()
            }
        before, comma, _ = incomplete.rpartition(",") if several else ("", "", "")
        values = {f"{before}{comma}{name}": text for name, text in lines.items()}
        return _matching(values, incomplete, files=files)

    return complete


def _of(values: Callable[[click.Context], dict[str, str]], *, files: bool = False) -> Complete:
    return lambda ctx, param, incomplete: _matching(values(ctx), incomplete, files=files)


models = _of(lambda ctx: _builtin() | _versions(), files=True)
versions = _of(lambda ctx: _versions(), files=True)
registered_name = _of(lambda ctx: {name: "" for name, _ in _registered()})
number = _of(
    lambda ctx: {number: "" for name, number in _registered() if name == ctx.params.get("name")}
)
"""Of the model that the argument before names."""


def _builtin() -> dict[str, str]:
    from comptrust.models.sources import BUILTIN

    return {f"builtin:{name}": text for name, text in BUILTIN.items()}


def _versions() -> dict[str, str]:
    return {f"models:/{name}/{number}": "" for name, number in _registered()}


def _matching(
    lines: dict[str, str], incomplete: str, *, files: bool = False
) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    items = [
        CompletionItem(name, help=text or None)
        for name, text in lines.items()
        if name.startswith(incomplete)
    ]
    return items or ([CompletionItem(incomplete, type="file")] if files else [])


def _registered() -> list[tuple[str, str]]:
    with suppress(Exception):
        return sorted(_read(), key=lambda pair: (pair[0], int(pair[1])))
    return []


def _read() -> Iterator[tuple[str, str]]:
    """Read the store's sqlite file without MLflow, whose import takes seconds, or ask its server.

    A server that only a project file names is not asked: pressing a key should contact nobody new.
    """
    from comptrust.cli import project

    uri = os.environ.get(project.VARIABLES["store"])
    if uri and uri.startswith(("http://", "https://")):
        import requests

        address = f"{uri.rstrip('/')}/api/2.0/mlflow/model-versions/search?max_results=1000"
        answer = requests.get(address, timeout=SECONDS).json()
        yield from ((row["name"], row["version"]) for row in answer["model_versions"])
        return
    import sqlite3

    file = project.find()
    named = project.read(file).values.get("store") if file else None
    path = Path((uri or named or store.tracking_uri()).removeprefix("sqlite:///")).resolve()
    with closing(
        sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=SECONDS)
    ) as database:
        rows = database.execute("SELECT name, version, current_stage FROM model_versions")
        yield from ((name, str(number)) for name, number, stage in rows if "Deleted" not in stage)


def use_whole_words_in_bash() -> None:
    """Teach click that bash ends words at colons: `models:/tiny/1` arrives as three words."""
    from click.shell_completion import BashComplete, CompletionItem, add_completion_class

    class Bash(BashComplete):
        def get_completion_args(self) -> tuple[list[str], str]:
            words = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
            line = "\n".join(words)
            whole = re.sub(r"\n:\n?", ":", line).split("\n")
            return whole[1:-1], whole[-1]

        def format_completion(self, item: CompletionItem) -> str:
            incomplete = self.get_completion_args()[1]
            colon = incomplete.rfind(":") + 1
            return f"{item.type},{item.value[colon:]}"

    add_completion_class(Bash, "bash")
