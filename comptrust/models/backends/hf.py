"""Answer prompts with a local model through transformers."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
import transformers

from comptrust.models import chat, cost, loading, memory
from comptrust.models.base import Backend, Tokenizer, chosen, generation, options
from comptrust.models.inference.choice import choose
from comptrust.models.inference.engine import Request
from comptrust.models.inference.tokens import Ids, fits, spans, token_ids
from comptrust.models.own_template import NO_ARGUMENTS, Arguments
from comptrust.models.reasoning import SpecialTokens
from comptrust.records import NOT_FINITE, Dtype, Generation, Prompt, Sampling
from comptrust.serving_cost import ServingCost
from comptrust.text_tables import counted

PROMPTS_PER_CHUNK = 256
"""Prompts with choices that are computed before their answers are yielded."""


class Hf(Backend):
    """A model folder, dense or compressed, that transformers loads."""

    def __init__(
        self,
        path: Path,
        *,
        batch_size: int | None = None,
        template: str | None = None,
        template_args: Arguments = NO_ARGUMENTS,
        dtype: Dtype = "auto",
        loaded: tuple[transformers.PreTrainedModel, Tokenizer] | None = None,
    ) -> None:
        """Compute `batch_size` rows at once (None: the engine's default).

        `loaded` is the model in `path`, if the caller has it in memory already, in its dtype.
        """
        self.model, self.tokenizer = loaded or loading.load(path, dtype=dtype)
        self.template, self.template_args = template, template_args
        self.special = SpecialTokens.of(self.tokenizer)
        eos = self.model.generation_config.eos_token_id
        ends = eos if isinstance(eos, list) else [eos, self.tokenizer.eos_token_id]
        self.ends = {token for token in ends if token is not None}
        self.new_engine = choose(self.model)
        self.engine = self.new_engine(batch_size=batch_size, ends=self.ends)
        self._announced: dict[tuple[str, str], tuple[Ids, Ids]] = {}
        """Context and option -> their tokens."""
        self._references: dict[tuple[str, str], float] = {}
        """Reference and option -> mean log-likelihood; a scenario's prompts share the reference."""

    def describe(self) -> dict[str, str]:
        return {
            "backend": "hf",
            "template": chat.name_of(self.template, self.tokenizer, self.template_args),
            "dtype": str(self.model.dtype),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def machine(self) -> dict[str, str]:
        """Return facts about the machine, including its threads and accelerators."""
        devices = range(torch.cuda.device_count())
        return {
            **super().machine(),
            "threads": str(torch.get_num_threads()),
            "accelerators": ", ".join(map(torch.cuda.get_device_name, devices)) or "none",
        }

    def cost(self) -> ServingCost:
        """Measure the engine that answers, one prompt at a time."""
        engine = self.new_engine(batch_size=1, ends=set())
        window = self._window() or cost.PROMPT_TOKENS + cost.NEW_TOKENS
        most = min(cost.PROMPT_TOKENS, window - cost.NEW_TOKENS)
        ids = token_ids(cost.TEXT, tokenizer=self.tokenizer)[:most]

        def answer(number: int, tokens: int) -> int:
            prompt = Prompt(
                id=str(number),
                dimension="",
                scenario="",
                messages=(),
                sampling=Sampling(max_tokens=tokens),
            )
            request = Request(prompt, ids[number:] + ids[:number])
            return sum(len(new) for _, new in engine.decode([request]))

        facts = self.machine()
        machine = facts["accelerators"]
        if machine == "none":
            machine = f"{facts['processor']}, {counted(torch.get_num_threads(), 'thread')}"
        return cost.measure(
            answer,
            how=f"{len(ids)} tokens in, {cost.NEW_TOKENS} out",
            where=f"hf, {str(self.model.dtype).removeprefix('torch.')}, {machine}",
            memory=memory.in_use,
        )

    def render(self, prompt: Prompt) -> str:
        return chat.render(
            prompt.messages,
            tokenizer=self.tokenizer,
            template=self.template,
            arguments=self.template_args,
            prefill=prompt.prefill,
        )

    def fits(self, prompt: Prompt, text: str) -> bool:
        """Return whether prompt and answer fit the window that the model's config states."""
        return fits(prompt, text, window=self._window(), tokenizer=self.tokenizer)

    def _window(self) -> int | None:
        config = self.model.config.get_text_config()
        # MPT's name
        return getattr(config, "max_position_embeddings", getattr(config, "max_seq_len", None))

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt: first those with choices, by scenario, then the others."""
        scenarios = defaultdict(list)
        for prompt in prompts:
            if prompt.choices:
                scenarios[prompt.scenario].append(prompt)
        # prompts of a scenario share the most, so few of them are computed with the next ones
        chunk: list[Prompt] = []
        for members in scenarios.values():
            for start in range(0, len(members), PROMPTS_PER_CHUNK):
                part = members[start : start + PROMPTS_PER_CHUNK]
                if len(chunk) + len(part) > PROMPTS_PER_CHUNK:
                    yield from self._choose(chunk)
                    chunk = []
                chunk += part
        if chunk:
            yield from self._choose(chunk)
        yield from self._generate([prompt for prompt in prompts if not prompt.choices])

    def expect(self, prompts: Sequence[Prompt]) -> None:
        asked = [prompt for prompt in prompts if prompt.choices]
        self._announced = self._pairs(map(self._scored, asked))
        self.engine.expect(self._announced.values())

    def _choose(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        scored = [self._scored(prompt) for prompt in prompts]
        pairs = self._pairs(scored)
        new = {key: ids for key, ids in pairs.items() if key not in self._references}
        logliks = self.engine.logliks(new.values()) if new else {}
        found = self._references | {key: logliks[ids] for key, ids in new.items()}
        for prompt, keys in zip(prompts, scored, strict=True):
            count = len(prompt.choices)
            self._references |= {key: found[key] for key in keys[count:]}
            values = [found[key] for key in keys]
            yield chosen(prompt, logliks=values[:count], reference=values[count:])

    def _scored(self, prompt: Prompt) -> list[tuple[str, str]]:
        """Return (context, option) for each choice, then again after the reference."""
        contexts = [self.render(prompt)]
        if prompt.reference:
            contexts.append(self.render(prompt.model_copy(update={"messages": prompt.reference})))
        return list(itertools.product(contexts, options(prompt)))

    def _pairs(
        self, scored: Iterable[Sequence[tuple[str, str]]]
    ) -> dict[tuple[str, str], tuple[Ids, Ids]]:
        """Return the tokens of contexts and options, each pair once."""
        keys, known = dict.fromkeys(itertools.chain.from_iterable(scored)), self._announced
        new = spans((key for key in keys if key not in known), tokenizer=self.tokenizer)
        return {key: known.get(key) or new[key] for key in keys}

    def _generate(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Generate all answers to every prompt; yield a prompt when its last answer is there."""
        requests, rendered = [], {}
        for prompt in prompts:
            text = rendered[prompt.dimension, prompt.id] = self.render(prompt)
            ids = token_ids(text, tokenizer=self.tokenizer)
            requests += [Request(prompt, ids, copy) for copy in range(prompt.sampling.n)]
        unfinished: dict[tuple[str, str], dict[int, tuple[str, str]]] = defaultdict(dict)
        for request, tokens in self.engine.decode(requests):
            prompt = request.prompt
            key = prompt.dimension, prompt.id
            answers = unfinished[key]
            answers[request.copy] = (
                self._decoded(request.ids, tokens) if request.finite else ("", NOT_FINITE)
            )
            if len(answers) == prompt.sampling.n:
                del unfinished[key]
                copies = [answers[copy] for copy in sorted(answers)]
                yield generation(
                    prompt,
                    texts=[text for text, _ in copies],
                    finish_reasons=[reason for _, reason in copies],
                    rendered=rendered.pop(key),
                )

    def _decoded(self, prompt: Ids, tokens: Sequence[int]) -> tuple[str, str]:
        """Return the text of the new tokens, and why it ended.

        A tokenizer may decode a text's first token differently, so the prompt is decoded with it.
        """
        ended = tokens[-1] in self.ends
        settings = {
            "skip_special_tokens": not self.special.marking,
            "clean_up_tokenization_spaces": False,
        }
        parts = (list(prompt), [*prompt, *(tokens[:-1] if ended else tokens)])
        before, whole = (str(self.tokenizer.decode(part, **settings)) for part in parts)
        text = self.special.without_others(whole[len(before) :])
        return text, "stop" if ended else "length"
