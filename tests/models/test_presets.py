"""The paper's models: whole commits, chat formats that exist, and the defaults that evaluation
takes from them.
"""

from __future__ import annotations

import re

import pytest

from comptrust.models import chat, presets
from comptrust.models.engines import EngineOptions
from comptrust.workflow.targets import target

PAPER = {
    "meta-llama/Llama-2-13b-hf": "plain",
    "meta-llama/Llama-2-13b-chat-hf": "llama-2",
    "meta-llama/Llama-2-7b-hf": "plain",
    "meta-llama/Llama-2-7b-chat-hf": "llama-2",
    "lmsys/vicuna-13b-v1.3": "vicuna_v1.1",
    "lmsys/vicuna-7b-v1.3": "vicuna_v1.1",
}


def test_the_papers_models_are_there() -> None:
    assert {name: one.template for name, one in presets.table().items()} == PAPER
    for one in presets.table().values():
        assert (
            re.fullmatch(r"[0-9a-f]{40}", one.revision)
            and one.template in chat.TEMPLATES
            and one.license
        )
    assert presets.revision("org/other") is None and presets.template(None) is None


@pytest.mark.parametrize(
    ("name", "asked", "template"),
    [
        ("meta-llama/Llama-2-13b-chat-hf", None, "llama-2"),
        ("meta-llama/Llama-2-13b-chat-hf", "chatml", "chatml"),
        ("org/other", None, None),
    ],
)
def test_the_chat_format_of_a_preset_is_the_default(
    name: str, asked: str | None, template: str | None
) -> None:
    ask = EngineOptions(
        engine="openai", batch_size=1, base_url="http://localhost/v1", template=asked
    )
    assert target(name, ask).template == template


def test_its_commit_is_what_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from comptrust.errors import ServiceError
    from comptrust.models import sources

    fetched = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        fetched.append((name, revision))
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    for name in ("lmsys/vicuna-7b-v1.3", "org/other"):
        with pytest.raises(ServiceError, match="Cannot fetch"):
            sources.resolve(name)
    assert fetched == [
        ("lmsys/vicuna-7b-v1.3", "236eeeab96f0dc2e463f2bebb7bb49809279c6d6"),
        ("org/other", None),
    ]
