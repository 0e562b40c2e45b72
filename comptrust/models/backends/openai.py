"""Answer prompts through a server with the OpenAI API.

Exact text and options go to the completions endpoint, other conversations to chat completions.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cached_property
from typing import Any

from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.models import chat, cost, option_scores
from comptrust.models.base import Backend, Tokenizer, chosen, generation, options, seed, unanswered
from comptrust.models.endpoint import BeyondWindow, Endpoint, Refused
from comptrust.models.inference.tokens import Ids, fits, span
from comptrust.models.own_template import NO_ARGUMENTS, Arguments
from comptrust.models.reasoning import SpecialTokens
from comptrust.records import GIVEN, NOT_TOLD, TOO_LONG, Generation, Message, Prompt
from comptrust.serving_cost import ServingCost

DEFAULT_REQUESTS = 32
"""Requests that run at once."""

SAME = 0.1
"""Largest difference of log-likelihoods that rounding makes, in 16 bits too; other tokens or a
broken cache make more."""

Scored = tuple[str, tuple[str, ...]]
"""A text and its options."""


class Openai(Backend):
    """A model on a server; `base_url` is the API's root, such as http://localhost:8000/v1.

    With the model's own tokenizer or a named template, conversations are rendered here, exactly as
    in the backend `hf`, and sent to the completions endpoint without the beginning-of-text token,
    which the server adds. Otherwise they are sent to the chat endpoint, where the server applies
    its own template.
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        batch_size: int | None = None,
        template: str | None = None,
        template_args: Arguments = NO_ARGUMENTS,
        tokenizer: Tokenizer | None = None,
        patience: float = 120.0,
        pause: float = 1.0,
        gone: Callable[[], str] = str,
    ) -> None:
        """Set up the backend; `batch_size` requests will run at once.

        `patience`, `pause` and `gone` are those of Endpoint. Raises UserError for a URL that is not
        http(s) or an unknown template.
        """
        if template is not None:
            chat.named(template)
        self._endpoint = Endpoint(base_url, patience=patience, pause=pause, gone=gone)
        self.model, self.template, self.tokenizer = model, template, tokenizer
        self.template_args = template_args
        self._special = SpecialTokens.of(tokenizer) if tokenizer else SpecialTokens()
        self._where, self._dtype = self._endpoint.url, NOT_TOLD
        self._workers = batch_size or DEFAULT_REQUESTS
        self._references: dict[Scored, list[float]] = {}
        self._first = threading.Lock()
        self._asks_tokens: bool | None = None
        self._locks: dict[Scored, threading.Lock] = defaultdict(threading.Lock)

    def describe(self) -> dict[str, str]:
        """Return provenance; facts that the server does not state are `not told`."""
        return {
            "backend": self.name,
            "template": chat.name_of(self.template, self.tokenizer, self.template_args),
            "dtype": self._dtype,
            "server": self._where,
            "model": self.model,
            **self._endpoint.about(self.model),
        }

    def render(self, prompt: Prompt) -> str:
        """Return the text that the model sees, or the messages as JSON if the server renders them.

        Raises UserError for a prompt that needs exact text if there is no tokenizer or template.
        """
        text = self._text(prompt.messages, prompt.prefill)
        if text is not None:
            return text
        if prompt.choices or prompt.prefill:
            raise UserError(
                f"Prompt '{prompt.id}' of {prompt.dimension} scores options or starts the answer,"
                " which needs the exact text. Give a tokenizer (the model's folder or Hugging Face"
                f" id) or a template ({', '.join(chat.TEMPLATES)})."
            )
        return json.dumps([message.model_dump() for message in prompt.messages], ensure_ascii=False)

    def fits(self, prompt: Prompt, text: str) -> bool:
        """Return whether prompt and answer fit the window that the server states.

        Without the tokenizer, the server finds out when it is asked.
        """
        if self.tokenizer is None:
            return True
        return fits(prompt, text, window=self._window or None, tokenizer=self.tokenizer)

    @cached_property
    def _window(self) -> int:
        return self._endpoint.window(self.model)

    def cost(self) -> ServingCost:
        """Measure what shows from outside: the speed, one request at a time."""
        self._endpoint.given_up.set()  # a server that is gone is not waited for
        chats = self.tokenizer is None and self.template is None

        def answer(number: int, tokens: int) -> int:
            text = f"{number}. {cost.TEXT}"
            body: dict[str, Any] = {"model": self.model, "max_tokens": tokens, "temperature": 0}
            if chats:
                body["messages"] = [{"role": "user", "content": text}]
            else:
                body["prompt"] = text
            reply = self._endpoint.post("chat/completions" if chats else "completions", body)
            usage = reply.get("usage")
            count = usage.get("completion_tokens") if isinstance(usage, dict) else None
            return count if isinstance(count, int) else 0

        return cost.measure(
            answer,
            how=f"{len(cost.TEXT)} characters in, {cost.NEW_TOKENS} tokens out",
            where=f"{self.name}, {self._dtype.removeprefix('torch.')}, {self._where}"[:300],
            memory=None,
        )

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt, several at a time.

        After a failure no further prompt is sent; answers on their way are still yielded.
        """
        waiting = iter(prompts)
        running: set[Future[Generation]] = set()
        failure: ComptrustError | None = None
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                while True:
                    while (
                        failure is None
                        and len(running) < self._workers
                        and (prompt := next(waiting, None)) is not None
                    ):
                        running.add(pool.submit(self._answer, prompt))
                    if not running:
                        break
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        try:
                            yield future.result()
                        except ComptrustError as error:
                            failure = failure or error
                            self._endpoint.given_up.set()
            finally:
                if running:
                    self._endpoint.given_up.set()
        if failure is not None:
            raise failure

    def _text(self, messages: Sequence[Message], prefill: str) -> str | None:
        """Return the exact text, or None if only the server can render it."""
        if self.tokenizer is None and self.template is None:
            is_completion = [message.role for message in messages] == ["completion"]
            return messages[0].content + prefill if is_completion else None
        return chat.render(
            messages,
            tokenizer=self.tokenizer,
            template=self.template,
            arguments=self.template_args,
            prefill=prefill,
        )

    def _sent(self, text: str) -> str:
        """Return the text without the beginning-of-text token, which the server adds."""
        if self.tokenizer is not None:
            return text.removeprefix(chat.bos(self.tokenizer))
        return text.removeprefix(chat.named(self.template).begin) if self.template else text

    def _answer(self, prompt: Prompt) -> Generation:
        try:
            return self._choose(prompt) if prompt.choices else self._generate(prompt)
        except BeyondWindow:
            return unanswered(prompt, TOO_LONG)

    def _generate(self, prompt: Prompt) -> Generation:
        sampling = prompt.sampling
        fields = {"temperature", "top_p", "max_tokens"}
        body: dict[str, Any] = {"model": self.model, **sampling.model_dump(include=fields)}
        text = self._text(prompt.messages, prompt.prefill)
        if text is None:
            self.render(prompt)  # refuses a prompt that needs exact text
            path = "chat/completions"
            body["messages"] = [message.model_dump() for message in prompt.messages]
        else:
            path = "completions"
            body["prompt"] = self._sent(text)
            if self._special.marking:
                body["skip_special_tokens"] = False
        choices: list[dict[str, Any]] = []
        # a server that does not know `n` returns one answer to each request
        while len(choices) < sampling.n:
            body |= {"n": sampling.n - len(choices), "seed": seed(prompt, copy=len(choices)) >> 32}
            choices += self._choices(path, body, prompt=prompt)
        choices = choices[: sampling.n]
        reasons = [str(choice.get("finish_reason") or "stop") for choice in choices]
        answers = [
            choice if text is not None else choice.get("message") or {} for choice in choices
        ]
        texts = [answer.get("text" if text is not None else "content") for answer in answers]
        # what a server that knows the model's format has cut off itself
        thoughts = [
            str(answer.get("reasoning_content") or answer.get("reasoning") or "")
            for answer in answers
        ]
        for content, thought, reason in zip(texts, thoughts, reasons, strict=True):
            if not isinstance(content, str) and not thought and reason in GIVEN:
                raise ServiceError(
                    f"{self._where} withheld an answer to prompt '{prompt.id}' without a reason,"
                    " so the prompt is not scored. Run again to continue."
                )
        return generation(
            prompt,
            texts=[
                self._special.without_others(content) if isinstance(content, str) else ""
                for content in texts
            ],
            finish_reasons=reasons,
            rendered=text or "",
            reasoning=thoughts,
        )

    def _choose(self, prompt: Prompt) -> Generation:
        continuations = options(prompt)
        logliks = self._logliks(self.render(prompt), continuations, prompt=prompt)
        if not prompt.reference:
            return chosen(prompt, logliks=logliks)
        key = (self._text(prompt.reference, prompt.prefill) or "", continuations)
        with self._locks[key]:  # prompts that share it send it once
            if key not in self._references:
                self._references[key] = self._logliks(*key, prompt=prompt)
        return chosen(prompt, logliks=logliks, reference=self._references[key])

    def _logliks(self, text: str, options: tuple[str, ...], *, prompt: Prompt) -> list[float]:
        """Return the mean log-likelihood per token of each option after the text.

        The first text is scored in both ways; only a server on which they agree is asked for single
        tokens afterwards.
        """
        with self._first:
            if self._asks_tokens is None:
                echoed = self._echoed(text, options, prompt=prompt)
                values = self._by_tokens(text, options, prompt=prompt)
                self._asks_tokens = bool(values) and all(
                    abs(value - other) <= SAME for value, other in zip(values, echoed, strict=True)
                )
                return echoed
        if self._asks_tokens and (values := self._by_tokens(text, options, prompt=prompt)):
            return values
        return self._echoed(text, options, prompt=prompt)

    def _by_tokens(self, text: str, options: tuple[str, ...], *, prompt: Prompt) -> list[float]:
        """Return the same from single tokens; empty if this server cannot be asked for them."""
        if self.tokenizer is None or not self._version.startswith("vllm"):
            return []
        pairs = [span(text, option, tokenizer=self.tokenizer) for option in options]
        wanted = option_scores.rows(pairs)
        known: dict[Ids, dict[int, float]] = {}
        if () in wanted:  # nothing comes before the first token
            return []
        try:
            for rows, tokens in option_scores.requests(wanted):
                body = option_scores.body(self.model, rows, tokens)
                choices = self._choices("completions", body, prompt=prompt)
                for row, choice in zip(rows, choices, strict=True):
                    known.setdefault(row, {}).update(option_scores.next_tokens(choice))
            return option_scores.means(pairs, known)
        except (Refused, KeyError, TypeError, ValueError, IndexError):
            return []  # a version without logprob_token_ids

    @cached_property
    def _version(self) -> str:
        return self._endpoint.about(self.model)["server_version"]

    def _echoed(self, text: str, options: tuple[str, ...], *, prompt: Prompt) -> list[float]:
        """Return the same from whole texts that the server echoes."""
        sent = self._sent(text)
        body = {
            "model": self.model,
            "prompt": [sent + option for option in options],
            "echo": True,
            "logprobs": 1,
            "max_tokens": 0,
        }
        cannot = (
            f"{self._where} cannot score options: /completions with echo and logprobs does not"
            " return the prompt's log-likelihoods. Use a server that does (vLLM), the backend hf,"
            " or only dimensions that are answered with text."
        )
        try:
            choices = self._choices("completions", body, prompt=prompt)
            return [
                option_scores.echoed(choice, text, option, tokenizer=self.tokenizer)
                for choice, option in zip(choices, options, strict=True)
            ]
        except Refused as error:
            raise ServiceError(f"{cannot} Its answer: {error}") from error
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ServiceError(cannot) from error

    def _choices(self, path: str, body: dict[str, Any], *, prompt: Prompt) -> list[dict[str, Any]]:
        try:
            answer = self._endpoint.post(path, body)
        except Refused as error:
            raise Refused(
                f"Prompt '{prompt.id}' of {prompt.dimension}: {error} Answers so far have been"
                " kept."
            ) from error
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            raise ServiceError(
                f"{self._where} answers prompt '{prompt.id}' without a choice. Answers so far have"
                " been kept."
            )
        return sorted(choices, key=lambda choice: int(choice["index"]))
