"""The engine for any model: through transformers' own `generate`, sharing nothing."""

import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from comptrust.models.inference.engine import Request, RowEngine
from comptrust.models.inference.tokens import Ids


class Generated(RowEngine):
    """For models that keep states, or keys and values of another form.

    With a batch size of 1 nothing is padded, and it answers as the model does, by definition.
    """

    default_batch_size = 32

    def read(self, keep: Mapping[Ids, int]) -> Iterator[tuple[Ids, torch.Tensor]]:
        model: Any = self.model
        ordered = sorted(keep, key=len)
        for start in range(0, len(ordered), self.batch_size):
            batch = ordered[start : start + self.batch_size]
            # no token sees those after it, so padding on the right changes nothing
            ids, mask = self.pad(batch, side="right")
            last = max(keep[row] + ids.shape[1] - len(row) for row in batch)
            self._forget()
            settings: dict[str, Any] = {"attention_mask": mask} if len(batch) > 1 else {}
            if "logits_to_keep" in inspect.signature(model.forward).parameters:
                settings["logits_to_keep"] = last
            with torch.inference_mode():
                logits = model(ids, use_cache=False, **settings).logits[:, -last:]
            for row, values in zip(batch, logits, strict=True):
                stop = last - (ids.shape[1] - len(row))
                yield row, values[stop - keep[row] : stop].float()

    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        groups: dict[int, list[Request]] = defaultdict(list)
        for request in requests:
            groups[request.prompt.sampling.max_tokens].append(request)
        for members in groups.values():
            members.sort(key=lambda request: len(request.ids))
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                yield from zip(batch, self._generate(batch), strict=True)

    def _generate(self, batch: Sequence[Request]) -> list[list[int]]:
        model: Any = self.model
        ids, mask = self.pad([request.ids for request in batch])
        picker = _Picker(self, batch)
        usual = model.generation_config
        self._forget()
        # the checkpoint's own settings, such as a penalty for repetition, are not the suite's
        model.generation_config = GenerationConfig(
            max_new_tokens=batch[0].prompt.sampling.max_tokens,
            eos_token_id=sorted(self.ends) or None,
            pad_token_id=next(iter(self.ends), 0),
        )
        try:
            model.generate(ids, attention_mask=mask, logits_processor=LogitsProcessorList([picker]))
        finally:
            model.generation_config = usual
        return picker.tokens

    def _forget(self) -> None:
        """Read a single token: dynamic RoPE remembers the longest row since the last short one."""
        if self.batch_size == 1:
            model: Any = self.model
            with torch.inference_mode():
                model(torch.tensor([[0]], device=model.device), use_cache=False)


class _Picker(LogitsProcessor):
    """Leaves `generate` one token to choose for each row: the engine's."""

    def __init__(self, engine: Generated, batch: Sequence[Request]) -> None:
        self.engine, self.batch = engine, batch
        self.tokens: list[list[int]] = [[] for _ in batch]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        pairs = enumerate(zip(self.batch, self.tokens, strict=True))
        live = [row for row, pair in pairs if not self.engine.has_ended(*pair)]
        new = self.engine.pick(scores[live], [self.batch[row] for row in live])
        chosen = torch.full_like(scores, -torch.inf)
        chosen[live, new] = 0
        for row, token in zip(live, new, strict=True):
            self.tokens[row].append(token)
        return chosen
