"""The choice of an engine: the fastest that computes what the model computes.

An engine that shares or pads is used only if the config allows it, and if it computes the same
numbers as the model on a few rows.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, TypeVar

import torch
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from comptrust.models.inference.engine import Engine, Request
from comptrust.models.inference.generated import Generated
from comptrust.models.inference.packed import Packed
from comptrust.models.inference.padded import Padded
from comptrust.models.inference.tokens import Ids
from comptrust.records import Prompt, Sampling

T = TypeVar("T")

TOLERANCE = 1e-4
"""Largest difference between logits, as a share of the largest logit, that counts as rounding.

Float32 rounds to 1e-6 in 2 layers and 1e-5 in 30; an engine that does not fit is 5e-2 off or more.
"""
NOISE = 4
"""As a multiple of the model's own rounding, if that is larger."""
WINDOWS = ("sliding_window", "attention_chunk_size")
SHORT_WINDOW = 24
"""Windows are at most this long during the comparison, so that short rows are longer."""
SHARED = 50
"""Tokens that rows of the comparison share: enough for each engine to compute them once."""
COPIES = 2
"""Answers to each row that are decoded, so that a beginning has enough rows to be shared."""
NEW = (5, 9, 13)
"""Tokens that are decoded after each row."""


def choose(model: PreTrainedModel) -> Callable[..., Engine]:
    """Return what makes an engine for a model, given `batch_size` and `ends` as in Engine."""
    with _short_windows(model.config.get_text_config()):
        kind = _fastest(model)
    limit = min(_limits(model.config), default=None)

    def engine(*, batch_size: int | None, ends: set[int]) -> Engine:
        alone = Generated(model, batch_size=1, ends=ends)
        if kind is None:
            return alone
        fast = kind(model, batch_size=batch_size, ends=ends)
        return fast if limit is None else ByLength(fast, alone, limit)

    return engine


class ByLength(Engine):
    """For rotary embeddings that change with the longest row of a pass, from a length on.

    Rows that stay below it are computed by a fast engine, the others one by one.
    """

    def __init__(self, fast: Engine, alone: Engine, limit: int) -> None:
        super().__init__(fast.model, batch_size=fast.batch_size, ends=fast.ends)
        self.fast, self.alone, self.limit = fast, alone, limit

    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        parts = self._split({pair: len(pair[0]) + len(pair[1]) for pair in pairs})
        return {key: value for engine, part in parts for key, value in engine.logliks(part).items()}

    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        lengths = {
            request: len(request.ids) + request.prompt.sampling.max_tokens for request in requests
        }
        for engine, part in self._split(lengths):
            yield from engine.decode(part)

    def _split(self, lengths: Mapping[T, int]) -> list[tuple[Engine, list[T]]]:
        short = [row for row, length in lengths.items() if length < self.limit]
        long = [row for row, length in lengths.items() if length >= self.limit]
        return [(engine, part) for engine, part in ((self.fast, short), (self.alone, long)) if part]


def _limits(settings: PreTrainedConfig | Mapping[str, Any]) -> Iterator[int]:
    """Yield the lengths from which on a model's rotary embeddings depend on the longest row."""
    fields = settings if isinstance(settings, Mapping) else settings.to_dict()
    for value in fields.values():
        if isinstance(value, Mapping):
            if str(value.get("rope_type")) in ("dynamic", "longrope"):
                name = "original_max_position_embeddings"
                lengths: tuple[Any, ...] = (
                    value.get(name),
                    fields.get(name),
                    fields.get("max_position_embeddings"),
                )
                yield min(int(length) for length in lengths if length)
            yield from _limits(value)


def _is_possible(kind: type[Engine], model: PreTrainedModel) -> bool:
    """Tell whether a model keeps nothing but what an engine expects of each token it has read."""
    if kind is Generated:
        return True
    try:
        layers = {type(layer) for layer in DynamicCache(config=model.config).layers}
    except Exception:  # whatever a config may lack
        return False
    if model._is_stateful or not layers <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return False
    on_cpu = model.device.type == "cpu" and model._supports_attention_backend
    return kind is Padded or (on_cpu and layers == {DynamicLayer})


@contextmanager
def _short_windows(config: PreTrainedConfig) -> Iterator[None]:
    fields: dict[str, Any] = {name: getattr(config, name, None) for name in WINDOWS}
    usual = {name: length for name, length in fields.items() if isinstance(length, int)}
    try:
        for name, length in usual.items():
            setattr(config, name, min(length, SHORT_WINDOW))
        yield
    finally:
        for name, length in usual.items():
            setattr(config, name, length)


def _rows(model: PreTrainedModel) -> list[Ids]:
    """Return rows to compare: some share a beginning longer than every window, one is short."""
    window = getattr(model.config.get_text_config(), "window_size", None)
    shared = SHARED + (window if isinstance(window, int) else 0)
    beginning = tuple(1 + place * 7 % 40 for place in range(shared))
    return [
        (4, 8, 2),
        *((*beginning, *range(20, 20 + length)) for length in (1, 2, 4)),
    ]


def _fastest(model: PreTrainedModel) -> type[Engine] | None:
    """Return the first engine that computes the logits of the model itself, each row alone."""
    rows = _rows(model)
    with suppress(Exception):  # whatever a model does not know or have
        expected = {row: _logits(model, row + NEW, last=len(NEW) + 1)[:-1] for row in rows}
        allowed = _rounding(model, expected)
        for kind in (Packed, Padded, Generated):
            with suppress(Exception):
                engine = kind(model, batch_size=COPIES * len(rows), ends=set())
                # a difference that is no number is not small either
                if _is_possible(kind, model) and all(
                    difference <= allowed
                    for difference in (*_decoded(engine, expected), *_scored(engine, expected))
                ):
                    return kind
    return None


def _rounding(model: PreTrainedModel, expected: Mapping[Ids, torch.Tensor]) -> float:
    """Return the largest difference of two logits that counts as rounding."""
    scale = max(float(logits.abs().max()) for logits in expected.values())
    allowed = scale * max(TOLERANCE, NOISE * torch.finfo(model.dtype).eps)
    if hasattr(model.config, "quantization_config"):
        # activations may be rounded too: a row that is one token longer shows how coarsely
        rows = list(expected)[:2]
        own = (_difference(_logits(model, row, last=1), expected[row][:1]) for row in rows)
        allowed = max(allowed, NOISE * max(own))
    return allowed


def _logits(model: Any, row: Ids, *, last: int) -> torch.Tensor:
    with torch.inference_mode():
        output = model(torch.tensor([row], device=model.device), use_cache=False)
    return torch.as_tensor(output.logits[0, -last:], dtype=torch.float32, device="cpu")


def _difference(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).abs().max())


def _decoded(engine: Engine, expected: Mapping[Ids, torch.Tensor]) -> Iterator[float]:
    """Yield the largest difference of the logits of each token that is decoded."""
    sampling = Sampling(max_tokens=len(NEW))
    prompt = Prompt(id="", dimension="", scenario="", messages=(), sampling=sampling)
    steps: dict[Request, list[torch.Tensor]] = defaultdict(list)

    def pick(logits: torch.Tensor, requests: Sequence[Request]) -> list[int]:
        for request, values in zip(requests, logits, strict=True):
            steps[request].append(values.float().cpu())
        return [NEW[len(steps[request]) - 1] for request in requests]

    engine.pick = pick
    requests = [Request(prompt, row, copy) for row in expected for copy in range(COPIES)]
    for request, _ in engine.decode(requests):
        yield _difference(torch.stack(steps[request]), expected[request.ids])


def _scored(engine: Engine, expected: Mapping[Ids, torch.Tensor]) -> Iterator[float]:
    """Yield the difference of the log-likelihood of each of two options after each row."""
    short, *others = [[(row, option) for option in (NEW, NEW[:1])] for row in expected]
    # rows that share nothing, then rows that share a beginning
    for pairs in ([*short, *others[0]], list(chain.from_iterable(others))):
        for (row, option), value in engine.logliks(pairs).items():
            chances = expected[row][: len(option)].log_softmax(dim=-1)
            picked = chances.gather(1, torch.tensor(option)[:, None])
            yield abs(float(picked.mean()) - value)
