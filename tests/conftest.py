"""What several test areas share: a tiny random Llama with a real byte-level tokenizer, built here,
in no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.support.stores"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that have slow tests, so that no worker is left alone with a long one at
    the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def no_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither sign with nor trust the keys of whoever runs the tests; a test that needs keys makes
    them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPTRUST_KEYS", str(tmp_path_factory.getbasetemp() / "no-keys"))
        patch.delenv("COMPTRUST_SIGNING_KEY", raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random Llama (2 layers, 64 wide, 259 tokens: every byte and three
    special ones), saved in bfloat16.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.support import families

    tokenizer = families.tokenizer()
    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("tiny") / "llama"
    LlamaForCausalLM(settings).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
