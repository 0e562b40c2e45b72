"""The examples work: the check in the Kubernetes manifest, and evidence in an OCI registry."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import bundles

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 120
REGISTRY = shutil.which("docker-registry")


def run(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def predictor() -> dict[str, Any]:
    manifest = yaml.safe_load((EXAMPLES / "kubernetes" / "inference-service.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    pod: dict[str, Any] = manifest["spec"]["predictor"]
    return pod


def test_the_manifest_serves_only_what_it_checked() -> None:
    pod = predictor()
    fetch, verify = pod["initContainers"]
    [server] = pod["containers"]
    mounts = {
        container["name"]: {mount["name"]: mount for mount in container["volumeMounts"]}
        for container in (fetch, verify, server)
    }
    assert fetch["command"][-1] == mounts["fetch"]["bundle"]["mountPath"]
    for name in ("verify", server["name"]):
        assert mounts[name]["bundle"] == {
            "name": "bundle",
            "mountPath": "/bundle",
            "readOnly": True,
        }
    assert "--model=/bundle/model" in server["args"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert "emptyDir" in volumes["bundle"] and mounts["verify"]["keys"]["readOnly"]
    assert {mount for own in mounts.values() for mount in own} == set(volumes)


def test_the_command_of_the_manifest_stops_a_changed_bundle(tmp_path: Path) -> None:
    trusted = bundles.write(tmp_path / "bundle", tmp_path / "keys")
    _, verify = predictor()["initContainers"]
    [variable] = verify["env"]
    assert len(variable["value"]) == len(bundles.POLICY)
    places = {"/bundle": str(tmp_path / "bundle"), "/keys": str(trusted)}
    given = places | {f"$({variable['name']})": bundles.POLICY}
    words = [given.get(word, word) for word in verify["command"]]
    assert words[0] == "comptrust" and places.keys() <= set(verify["command"])
    assert "verdict: pass" in run("-m", *words)
    bundles.flip(tmp_path / "bundle" / "model" / "model.safetensors")
    assert "changed: model/model.safetensors" in run("-m", *words, code=1)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Debian's docker-registry on a free port of this machine."""
    pytest.importorskip("oras", reason="the package oras is not installed")
    if REGISTRY is None:
        pytest.skip("docker-registry (a Debian package) is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    settings = {"version": "0.1", "storage": storage, "http": {"addr": address}}
    (tmp_path / "registry.yml").write_text(yaml.safe_dump(settings))
    with open(tmp_path / "registry.log", "w") as log:
        process = subprocess.Popen(
            [REGISTRY, "serve", str(tmp_path / "registry.yml")],
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(f"http://{address}/v2/", process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the registry did not start")


@pytest.mark.slow
def test_evidence_in_a_registry_is_found_by_the_model(registry: str, tmp_path: Path) -> None:
    trusted = bundles.write(tmp_path / "bundle", tmp_path / "keys")
    script, target = EXAMPLES / "oci" / "evidence.py", f"{registry}/models/tiny:2"
    for _ in range(2):  # the same evidence is listed once
        run(script, "push", target, tmp_path / "bundle", "--insecure")
    run(script, "fetch", target, tmp_path / "fetched", "--insecure")
    words = ("verify", "--policy-digest", bundles.POLICY, "--keys", trusted)
    assert "verdict: pass" in run("-m", "comptrust", *words, tmp_path / "fetched")
    shutil.rmtree(tmp_path / "fetched")
    bundles.flip(tmp_path / "bundle" / "model" / "config.json")
    run(script, "push", target, tmp_path / "bundle", "--insecure")
    run(script, "fetch", target, tmp_path / "fetched", "--insecure")
    changed = run("-m", "comptrust", *words, tmp_path / "fetched", code=1)
    assert "changed: model/config.json" in changed
