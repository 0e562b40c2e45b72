"""A tracking store of its own per test, and a tiny checkpoint that transformers loads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comptrust import digests
from comptrust.records import Checkpoint, Recipe, ReloadCheck, Score, Scorecard

TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}assistant {% endif %}"


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs, made once because making its tables takes seconds."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("empty")
    SqlAlchemyStore(f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()).engine.dispose()
    return folder / "mlflow.db"


@pytest.fixture
def store(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point MLflow at a fresh sqlite file and leave nothing of the surrounding environment."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of one layer with a word tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = ["<unk>", "<eos>", "system", "user", "assistant", "hello", "yes", "no"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>")
    fast.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), eos_token_id=1, pad_token_id=1, **shape))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def checkpoint_of(folder: Path, **fields: object) -> Checkpoint:
    """Describe a folder as a checkpoint."""
    manifest = digests.of_folder(folder)
    recipe = {"base_model": "builtin:tiny", "revision": "r1", "method": "gptq", "bits": 4, "group_size": 32, "seed": 0, **fields}
    return Checkpoint(
        recipe=Recipe(**recipe),
        path=str(folder),
        digest=digests.of_value(manifest),
        manifest=manifest,
        bytes=100,
        dense_bytes=400,
        effective_bits=4.5,
        sparsity=0.0,
        reload_check=ReloadCheck(max_logit_difference=0.0, tolerance=0.1, n_tokens=3),
        versions={"torch": "2.13.0+cpu", "transformers": "5.17.0"},
    )


def scorecard_of(checkpoint: Checkpoint, *, value: float | None = 50.0) -> Scorecard:
    """Return a scorecard with one measured and one unmeasured dimension."""
    return Scorecard(
        checkpoint_digest=checkpoint.digest,
        suite_digest="5" * 64,
        rendering_digest="6" * 64,
        generations={},
        scores=(
            Score(dimension="mmlu", value=value, refusal_rate=2.0, n_prompts=4, n_scored=4),
            Score(dimension="ood", value=None, refusal_rate=None, n_prompts=4, n_scored=0),
        ),
        provenance={},
    )
