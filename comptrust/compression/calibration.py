"""Choose and render the calibration texts."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import config
from comptrust.errors import ServiceError, UserError, unknown
from comptrust.models import chat
from comptrust.records import Message
from comptrust.text_tables import counted

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_TOKENS = 256
"""Longer texts are truncated."""
MAX_ROWS = 4096
"""Rows read of a data set, from which the seed chooses; C4 alone has 365 million."""
TRAIN = "train"
MAX_ANSWER_TOKENS = 96
"""Length of an answer that the model itself gives."""


@cache
def builtin() -> list[dict[str, str]]:
    """Return the rows written for this project, each with an instruction and an answer."""
    file = Path(__file__).with_name("calibration.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def choose(
    source: str,
    *,
    count: int,
    seed: int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None = None,
) -> list[str]:
    """Return `count` rendered calibration texts; the seed decides which, and their order.

    Sources are `builtin`, `self` (the dense model's own greedy answers to the builtin
    instructions), `file:PATH` and `hf:NAME:CONFIG:SPLIT:FIELD`. Pairs of instruction and answer are
    rendered in the chat format `template`, by default the model's own; other texts get the model's
    beginning-of-text token, if it expects one. Raises UserError if the source cannot be
    read or has too few texts.
    """
    chosen = random.Random(seed).sample(rows(source, count=count), count)
    if source == "self":
        chosen = [
            row | {"answer": _own_answer(row["instruction"], model, tokenizer, template)}
            for row in chosen
        ]
    return [_render(row, tokenizer, template) for row in chosen]


def rows(source: str, *, count: int) -> list[dict[str, str]]:
    """Return all texts of a source, at least `count`.

    Raises UserError if it cannot be read or has fewer.
    """
    kind, _, rest = source.partition(":")
    if kind == "file":
        texts = _file_rows(config.path_of(rest))
    else:
        texts = _hub_rows(rest) if kind == "hf" else builtin()
    if len(texts) < count:
        raise UserError(
            f"Calibration {source} has {counted(len(texts), 'text')}, but calibration_samples is"
            f" {count}. Lower calibration_samples or add texts."
        )
    return texts


def tokenize(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[torch.Tensor]:
    """Return the token ids of each text, shape (1, length), truncated to MAX_TOKENS."""
    settings: dict[str, Any] = {
        "add_special_tokens": False,
        "truncation": True,
        "max_length": MAX_TOKENS,
        "return_tensors": "pt",
    }
    return [tokenizer(text, **settings)["input_ids"] for text in texts]


def _file_rows(path: Path) -> list[dict[str, str]]:
    text = config.read_text(path)
    if path.suffix != ".jsonl":
        rows = [{"text": part.strip()} for part in text.split("\n\n") if part.strip()]
    else:
        lines = ((f"{path}, line {n}", line) for n, line in enumerate(text.split("\n"), 1))
        rows = [
            _fields(config.json_value(line, where=where), where=where)
            for where, line in lines
            if line.strip()
        ]
    if not rows:
        raise UserError(
            f"Calibration file {path} is empty. It needs paragraphs of text, or JSON lines with"
            " the fields instruction and answer, or text."
        )
    return rows


def _fields(row: Any, *, where: str) -> dict[str, str]:
    for names in (("instruction", "answer"), ("text",)):
        values = [row.get(name) for name in names] if isinstance(row, dict) else [None]
        if all(isinstance(value, str) and value.strip() for value in values):
            return {name: row[name] for name in names}
    raise UserError(
        f"{where}: needs the fields instruction and answer, or text, as non-empty strings."
    )


def _hub_rows(spec: str) -> list[dict[str, str]]:
    """Return the first rows, at most MAX_ROWS, of a data set NAME:CONFIG:SPLIT:FIELD.

    All but the name may be left out or empty. Rows without text are skipped.
    """
    import datasets

    name, config_name, split, field, *more = [*spec.split(":"), "", "", "", ""]
    if any(more):
        raise UserError(f"Calibration hf:{spec} has more parts than hf:NAME:CONFIG:SPLIT:FIELD.")
    local = config.path_of(name)
    place, what, split = str(local) if local.is_dir() else name, f"data set {name}", split or TRAIN
    try:
        configs = datasets.get_dataset_config_names(place)
        if config_name and config_name not in configs:
            raise unknown(f"config of {what}", config_name, configs)
        if not config_name and len(configs) > 1 and "default" not in configs:
            raise UserError(f"{what} needs a config, hf:{name}:CONFIG: {', '.join(configs)}.")
        splits = datasets.get_dataset_split_names(place, config_name or None)
        if split not in splits:
            raise unknown(f"split of {what}", split, splits)
        data = datasets.load_dataset(place, config_name or None, split=split, streaming=True)
        rows = list(itertools.islice(_texts(data, field, what), MAX_ROWS))
    except UserError:
        raise
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(
            f"No {what} here or on Hugging Face, or no access to it. Check the name, or use"
            " file:PATH."
        ) from error
    except Exception as error:  # datasets raises many different classes
        raise ServiceError(
            f"Cannot load the {what}: {' '.join(str(error).split())[:200]}. Check the name and the"
            " network, or use file:PATH."
        ) from error
    return rows


def _texts(data: Iterable[dict[str, Any]], field: str, what: str) -> Iterator[dict[str, str]]:
    """Yield the rows that have text, in `field` or else in the usual fields."""
    for number, row in enumerate(data):
        if field and field not in row:
            raise unknown(f"field of {what}", field, row)
        text = row.get(field or "text")
        if isinstance(text, str) and (text.strip() or "instruction" not in row):
            if text.strip():
                yield {"text": text}
        elif field:
            raise UserError(f"{what}, row {number}: the field {field} is no text. Name another.")
        else:
            yield _fields(row, where=f"{what} (fields {', '.join(row)}), row {number}")


def _render(row: dict[str, str], tokenizer: PreTrainedTokenizerBase, template: str | None) -> str:
    if "text" in row:
        # a model that expects a beginning-of-text token gets it here as well
        return chat.bos(tokenizer) + row["text"]
    return chat.answered(row["instruction"], row["answer"], tokenizer=tokenizer, template=template)


def _own_answer(
    instruction: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
) -> str:
    import torch

    question = [Message(role="user", content=instruction)]
    text = chat.render(question, tokenizer=tokenizer, template=template)
    [ids] = tokenize([text], tokenizer)
    ids = ids.to(model.device)
    generate: Any = model.generate
    output = generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=MAX_ANSWER_TOKENS,
        do_sample=False,
    )
    return str(tokenizer.decode(output[0][ids.shape[1] :], skip_special_tokens=True))
