"""The routes of an MLflow server that somebody has judged, in `routes.txt`.

A route of the installed MLflow that is not listed there is off, for example one that is new in an
upgrade. So is one whose group the operator did not allow.
"""

import re
import sys
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from comptrust.errors import UserError

OPEN, BASIC_AUTH = "comptrust", "comptrust-basic-auth"
"""Our names for `mlflow server --app-name`: without and with accounts."""
ALLOWED = "COMPTRUST_ALLOW"
"""Environment variable in which a server's processes find the allowed groups."""
CLOSED = "comptrust"
"""The key in a Flask application's extensions that says that its routes were judged."""
ON = ("always", "accounts")
GROUPS = {
    "assistant": "whoever reaches the server can run commands on this machine",
    "demo": "the server writes sample data on request",
    "gateway": "the server keeps secrets of model providers and calls them",
    "jobs": "the server runs code in background processes",
    "mcp": "the server keeps a registry of tool servers, which the gate does not judge",
    "promptlab": "the server makes runs from answers that clients send",
    "scorers": "the server stores code, which jobs run",
    "webhooks": "the server sends requests to addresses that clients name",
}
"""The groups that an operator may allow, and what each of them means."""

Route = tuple[str, str]
"""Method and path, with `{}` for one part of a path and `{path}` for the rest of it."""


@cache
def judged() -> dict[Route, str]:
    """Return the group of each judged route."""
    listed: dict[Route, str] = {}
    group = ""
    for line in Path(__file__).with_name("routes.txt").read_text("ascii").splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif line and not line.startswith("#"):
            methods, path = line.split()
            for prefix in ("api", "ajax-api") if "{api}" in path else ("",):
                for method in methods.split(","):
                    listed[method, path.replace("{api}", prefix)] = group
    return listed


def spelled(path: str) -> str:
    """Return the path of a Flask or FastAPI route as `routes.txt` spells it.

    >>> spelled("/a/<path:file>/<b>"), spelled("/a/{file:path}/{b}")
    ('/a/{path}/{}', '/a/{path}/{}')
    """
    return re.sub(r"<(?:(path):)?[^<>]*>|\{[^{}:]*(?::(path))?\}", _part, path)


def is_on(route: Route, allowed: Collection[str]) -> bool:
    """Whether a route was judged and its group is on."""
    group = judged().get(route)
    return group in ON or group in allowed


def unjudged(routes: Iterable[Route]) -> tuple[str, ...]:
    """Return, sorted, the routes that nobody has judged."""
    return tuple(sorted(f"{method} {path}" for method, path in set(routes) - judged().keys()))


def check(groups: Iterable[str]) -> tuple[str, ...]:
    """Return the groups. Raises UserError for one that does not exist."""
    for group in groups:
        if group not in GROUPS:
            raise UserError(f"--allow {group} is not one of {', '.join(GROUPS)}.")
    return tuple(dict.fromkeys(groups))


def is_closed() -> bool:
    """Whether the application that answers this request has judged routes only.

    True without a request: nobody reaches a plain process through a route.
    """
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_request_context():
        return True
    return CLOSED in flask.current_app.extensions


def _part(match: re.Match[str]) -> str:
    return "{path}" if match[1] or match[2] else "{}"
