"""Every route of the installed MLflow was judged; one that was not is off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.gate.enforcement import routes

TABLES = """
import json
from comptrust.gate.enforcement import application, routes
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app
unjudged = application.unjudged(routes.BASIC_AUTH)
before = sorted(set(application.installed(app, flask_app)))

# What the next version may bring: a route beside judged ones, a method, a mount.
flask_app.add_url_rule("/api/3.0/mlflow/datasets/run-code", "new", lambda: "ran")
flask_app.add_url_rule("/api/2.0/mlflow/runs/search", "again", lambda: "ran", methods=["DELETE"])
app.mount("/tools", flask_app)
new = routes.unjudged(application.installed(app, flask_app))
application.close(app, flask_app, ())
after = sorted(set(application.installed(app, flask_app)))

from fastapi.testclient import TestClient
client = TestClient(app)
requests = [("GET", "/health"), ("GET", "/version"), ("GET", "/tools/health"),
    ("DELETE", "/api/2.0/mlflow/runs/search"), ("GET", "/api/3.0/mlflow/datasets/run-code"),
    ("GET", "/ajax-api/3.0/mlflow/assistant/config"), ("POST", "/ajax-api/3.0/jobs/"),
    ("GET", "/api/2.0/mlflow/webhooks"), ("GET", "/AJAX-API/3.0/mlflow/assistant/config"),
    ("GET", "//ajax-api/3.0/mlflow/assistant/config"), ("GET", "/gateway/mlflow/v1/models")]
more = dict(headers={"Host": "localhost"}, auth=("admin", "correct horse battery"))
answers = [client.request(*one, **more) for one in requests]
print(json.dumps({"unjudged": unjudged, "before": before, "new": new, "after": after,
    "answers": [(*one, answer.status_code, answer.text[:20])
                for one, answer in zip(requests, answers)]}))
"""
OFF = (
    "/api/2.0/mlflow/runs/search",
    "/tools/health",
    "/ajax-api/3.0/mlflow/assistant/config",
    "/AJAX-API/3.0/mlflow/assistant/config",
    "//ajax-api/3.0/mlflow/assistant/config",
    "/ajax-api/3.0/jobs/",
    "/api/2.0/mlflow/webhooks",
    "/gateway/mlflow/v1/models",
)
ROUTES_OF = {
    "assistant": ("PUT", "/ajax-api/3.0/mlflow/assistant/config"),
    "gateway": ("POST", "/gateway/mlflow/v1/chat/completions"),
    "jobs": ("POST", "/ajax-api/3.0/jobs/"),
    "mcp": ("POST", "/api/3.0/mlflow/mcp-servers"),
    "promptlab": ("POST", "/ajax-api/2.0/mlflow/runs/create-promptlab-run"),
    "scorers": ("POST", "/api/3.0/mlflow/scorers/register"),
    "webhooks": ("POST", "/api/2.0/mlflow/webhooks"),
    "demo": ("POST", "/ajax-api/3.0/mlflow/demo/generate"),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """Close an application in a process of its own, since MLflow keeps it in a module."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/users.db\n"
        "admin_username = admin\n"
    )
    environment = {name: value for name, value in os.environ.items() if "MLFLOW" not in name} | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for this test only",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "correct horse battery",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    done = subprocess.run(
        [sys.executable, "-c", TABLES], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    tables: dict[str, list[list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return tables


def test_every_route_of_the_installed_mlflow_was_judged(tables: dict[str, list[list[str]]]) -> None:
    assert tables["unjudged"] == []
    installed = {(method, path) for method, path in tables["before"]}
    gone = set(routes.judged()) - installed - {("GET", "/metrics")}
    assert gone == set(), "routes.txt lists routes that MLflow no longer has"


def test_only_routes_that_are_on_remain(tables: dict[str, list[list[str]]]) -> None:
    on = {(method, path) for method, path in tables["before"] if routes.is_on((method, path), ())}
    assert {(method, path) for method, path in tables["after"]} == on
    assert 300 < len(on) < len(tables["before"]) - 100


def test_a_new_route_is_off_and_named(tables: dict[str, list[list[str]]]) -> None:
    new = {"GET /api/3.0/mlflow/datasets/run-code", "DELETE /api/2.0/mlflow/runs/search"}
    assert new < set(map(str, tables["new"]))
    answers = {(method, path): (code, text) for method, path, code, text in tables["answers"]}
    assert answers["GET", "/health"][0] == answers["GET", "/version"][0] == 200
    # The older route of this path answers: it looks for a dataset, and fails without a database.
    assert answers["GET", "/api/3.0/mlflow/datasets/run-code"][1].startswith('{"error_code"')
    assert {code for route, (code, _) in answers.items() if route[1] in OFF} == {404}


@pytest.mark.parametrize("group", routes.GROUPS)
def test_a_group_is_off_until_it_is_allowed(group: str) -> None:
    route = ROUTES_OF[group]
    assert not routes.is_on(route, ())
    assert not routes.is_on(route, set(routes.GROUPS) - {group})
    assert routes.is_on(route, (group,))


def test_a_route_that_goes_around_the_server_stays_off() -> None:
    route = ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url")
    assert route in routes.judged()
    assert not routes.is_on(route, routes.GROUPS)
    assert not routes.is_on(route, ("",))


def test_a_group_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="--allow never is not one of assistant"):
        routes.check(["never"])
