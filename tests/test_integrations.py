"""The Dockerfile and the compose file, read without Docker: test_install follows them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import images

FOLDER = images.FOLDER


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    found = shutil.which("hadolint", path=Path(sys.executable).parent)
    if found is None:
        pytest.skip("hadolint is not installed (extra test)")
    words = [found, "--failure-threshold", "info", FOLDER / "Dockerfile"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_has_stages_a_pinned_base_and_no_root() -> None:
    steps = images.instructions()
    bases = [rest.split()[0] for name, rest in steps if name == "FROM"]
    assert len(bases) == 2 and len(set(bases)) == 1 and re.search(r":\d+\.\d+-", bases[0])
    last = steps[max(index for index, (name, _) in enumerate(steps) if name == "FROM") :]
    assert ("USER", "10001:10001") in last
    assert not [rest for name, rest in last if name == "RUN"]


def test_the_server_is_guarded_healthy_and_keeps_its_own_files_apart() -> None:
    compose = images.compose()
    services, server = compose["services"], compose["services"]["server"]
    assert all("healthcheck" in service for service in services.values())
    assert server["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert server["read_only"] and server["cap_drop"] == ["ALL"]
    assert server["ports"] == ["127.0.0.1:5000:5000"]
    volumes = [volume for service in services.values() for volume in service["volumes"]]
    named = [volume.split(":")[0] for volume in volumes if isinstance(volume, str)]
    assert sorted(named) == sorted(compose["volumes"])
    [trusted] = [volume for volume in server["volumes"] if isinstance(volume, dict)]
    options = dict(word.split("=", 1) for word in server["command"])
    assert trusted["read_only"] and trusted["target"] == options["--trusted-keys"]
    assert options["--artifacts-destination"] in str(server["volumes"])
    assert Path(options["--audit-log"]).parent != Path(options["--artifacts-destination"])


def test_no_password_is_in_the_compose_file() -> None:
    compose = images.compose()
    assert compose["secrets"] == {"database": {"file": "./secrets/database"}}
    text = (FOLDER / "compose.yaml").read_text()
    assert "POSTGRES_PASSWORD_FILE" in text and not re.search(
        r"POSTGRES_PASSWORD:|mlflow:.*@", text
    )
