"""The application that `comptrust serve` starts: MLflow's, with the judged routes only.

Routes that are off are not in its tables, so there is no second reading of a request's path that
could differ from MLflow's own. They answer 404, before MLflow looks at who is asking.
"""

import os
from collections.abc import Collection, Iterator
from typing import Any

import anyio.to_thread
import flask
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from mlflow.exceptions import MlflowException
from mlflow.server.asgi_utils import get_routed_asgi_path
from mlflow.server.handlers import STATIC_PREFIX_ENV_VAR
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from werkzeug.exceptions import NotFound

from comptrust.errors import UserError
from comptrust.gate.enforcement import lapse, mlflow_internals, routes
from comptrust.gate.enforcement.frozen import ForeignRepository, guarded_store
from comptrust.gate.enforcement.routes import Route
from comptrust.gate.enforcement.tracking import GuardedTracking

AUTOMATIC = {"HEAD", "OPTIONS"}
"""Methods that the frameworks add to a route by themselves, and that change nothing."""
GRAPHQL = "/graphql"
THREADS = 200
"""Requests that a worker of uvicorn answers at once. Those that wait for the same promotion, or for
the log, take a thread each, but no processor; with the usual 40 they would keep the others out.
"""


def create_app(*, accounts: bool) -> FastAPI | flask.Flask:
    """Create the application of a server with or without accounts."""
    from mlflow.server import app as flask_app

    app: FastAPI | flask.Flask = flask_app
    if accounts:
        from mlflow.server.auth import create_app as create_mlflow_app

        app = create_mlflow_app()
    elif os.environ.get(mlflow_internals.SERVER_KIND) == "uvicorn":  # so FastAPI's routes are there
        from mlflow.server.fastapi_app import create_fastapi_app

        app = create_fastapi_app(flask_app)
    close(app, flask_app, os.environ.get(routes.ALLOWED, "").split(","))
    mlflow_internals.use_stores(GuardedTracking, ForeignRepository)
    flask_app.before_request(_look_around)
    return app


def close(app: FastAPI | flask.Flask, flask_app: flask.Flask, allowed: Collection[str]) -> None:
    """Remove every route that is not on from an application and the Flask application in it."""
    if isinstance(app, FastAPI):
        # An included router is kept or removed as a whole. Without it, Flask's own route of the
        # same path answers, if there is one.
        app.router.routes[:] = [
            route
            for route in app.router.routes
            if _is_mount(route, flask_app)
            or all(routes.is_on(listed, allowed) for listed in _of_fastapi(route))
        ]
    mutations_on = all(routes.is_on(mutation, allowed) for mutation in _mutations())
    kept = flask_app.url_map_class()
    kept.converters.update(flask_app.url_map.converters)
    for rule in flask_app.url_map.iter_rules():
        on = {method for method, path in _of_flask(rule) if routes.is_on((method, path), allowed)}
        if on and (mutations_on or not rule.rule.endswith(GRAPHQL)):
            copy: Any = rule.empty()
            copy.methods = on | {"OPTIONS"} | ({"HEAD"} if "GET" in on else set())
            # Flask notes on the rule whether it answers OPTIONS itself.
            copy.provide_automatic_options = getattr(rule, "provide_automatic_options", False)
            kept.add(copy)
    flask_app.url_map = kept
    flask_app.extensions[routes.CLOSED] = True
    _answer_404(app, flask_app)


def installed(app: FastAPI, flask_app: flask.Flask) -> Iterator[Route]:
    """Yield every route that the installed MLflow has, and what GraphQL can change."""
    for route in app.router.routes:
        if not _is_mount(route, flask_app):
            yield from _of_fastapi(route)
    for rule in flask_app.url_map.iter_rules():
        yield from _of_flask(rule)
    yield from _mutations()


def unjudged(app_name: str) -> tuple[str, ...]:
    """Return the routes of a server that are off because nobody has judged them.

    Raises UserError if the server cannot be started like this.
    """
    try:
        from mlflow.server import app as flask_app
        from mlflow.server.fastapi_app import app

        if app_name == routes.BASIC_AUTH:
            from mlflow.server.auth import create_app as create_mlflow_app

            create_mlflow_app()  # also creates the administrator, before there are workers
    except (ImportError, MlflowException) as error:
        raise UserError(f"The server cannot start: {' '.join(str(error).split())}") from error
    return routes.unjudged(installed(app, flask_app))


def _look_around() -> flask.Response | None:
    """Take back what is promoted no longer, before a request is answered that could read it.

    A key that was revoked meanwhile is recorded.
    """
    try:
        store = guarded_store()
        lapse.end_due(store)
        store.revocations.record()
    except MlflowException as error:
        code, body = error.get_http_status_code(), error.serialize_as_json()
        return flask.Response(body, code, mimetype="application/json")
    return None


def _answer_404(app: FastAPI | flask.Flask, flask_app: flask.Flask) -> None:
    """Answer what no route of the closed application matches, before accounts are looked at."""
    inner = flask_app.wsgi_app

    def wsgi_app(environ: Any, start_response: Any) -> Any:
        on = flask_app.url_map.bind_to_environ(environ).test()
        return (inner if on else NotFound())(environ, start_response)

    flask_app.wsgi_app = wsgi_app  # type: ignore[method-assign]  # as Flask documents it
    if isinstance(app, FastAPI):
        app.add_middleware(_Known, routes=list(app.router.routes), flask_app=flask_app)


class _Known:
    """The outermost layer of a FastAPI application."""

    def __init__(self, app: ASGIApp, routes: list[BaseRoute], flask_app: flask.Flask) -> None:
        self.app, self.flask_app = app, flask_app
        self.native = [route for route in routes if not isinstance(route, Mount)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        if scope["type"] != "http" or self._knows(scope):
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse("Not Found", 404)(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        if any(route.matches(scope)[0] == Match.FULL for route in self.native):
            return True
        path = get_routed_asgi_path(Request(scope))
        return self.flask_app.url_map.bind("localhost").test(path, scope["method"])


def _is_mount(route: BaseRoute, flask_app: flask.Flask) -> bool:
    """Whether a route hands everything else to MLflow's Flask application."""
    return isinstance(route, Mount) and getattr(route.app, "app", None) is flask_app


def _of_fastapi(route: BaseRoute) -> list[Route]:
    """Return the routes of an entry in FastAPI's table; one that nobody knows for other kinds."""
    listed: list[Route] = []
    for context in iter_route_contexts([route]):
        path = _spelled(context.path or "")
        methods = set(context.methods or ()) - {"HEAD"}
        listed += [(method, path) for method in methods or {type(route).__name__}]
    return listed or [(type(route).__name__, "")]


def _of_flask(rule: Any) -> list[Route]:
    return [(method, _spelled(rule.rule)) for method in (rule.methods or set()) - AUTOMATIC]


def _mutations() -> list[Route]:
    """Return what GraphQL calls mutations; the judged ones only read."""
    from mlflow.server.graphql.graphql_schema_extensions import schema

    mutations = schema.graphql_schema.mutation_type
    return [("MUTATION", name) for name in (mutations.fields if mutations else ())]


def _spelled(path: str) -> str:
    prefix = os.environ.get(STATIC_PREFIX_ENV_VAR, "").rstrip("/")
    return routes.spelled(path.removeprefix(prefix) or "/")
