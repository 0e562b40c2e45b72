"""Answer prompts through a server that speaks the OpenAI API: completions for exact text and
options, else chat completions.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.models import chat
from comptrust.models.base import Backend, chosen, generation
from comptrust.models.endpoint import Endpoint, Refused
from comptrust.models.inference.spans import span
from comptrust.records import Generation, Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REQUESTS = 32
"""Requests that run at once if nothing else is asked for."""


class Openai(Backend):
    """A model that a server names; `base_url` is the API's root, such as http://localhost:8000/v1.

    With the model's own tokenizer, or a named template, conversations are rendered here, exactly as
    by the backend `hf`, and go to the completions endpoint; the beginning-of-text token is left to
    the server, which adds it. Without either they go to the chat endpoint, where the server's
    template applies.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        batch_size: int | None = None,
        template: str | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        patience: float = 120.0,
        pause: float = 1.0,
        where: str | None = None,
    ) -> None:
        """`batch_size` requests run at once; `patience` and `pause` are seconds, see Endpoint;
        `where` stands for the URL in provenance.

        Raises UserError for a URL that is not http(s) or an unknown template.
        """
        if template is not None:
            chat.named(template)
        self._endpoint = Endpoint(base_url, patience=patience, pause=pause)
        self.model, self.template, self.tokenizer = model, template, tokenizer
        self._where = where or self._endpoint.url
        self._workers = batch_size or REQUESTS
        self._free: dict[tuple[str, tuple[str, ...]], list[float]] = {}
        self._asking: dict[tuple[str, tuple[str, ...]], threading.Lock] = defaultdict(
            threading.Lock
        )

    def describe(self) -> dict[str, str]:
        """Return provenance; what the server does not tell of itself is `not told`."""
        own = (
            "server"
            if self.tokenizer is None
            else "own"
            if self.tokenizer.chat_template
            else "plain"
        )
        about = {
            "backend": "openai",
            "template": self.template or own,
            "server": self._where,
            "model": self.model,
        }
        return {**about, **self._endpoint.about(self.model)}

    def render(self, prompt: Prompt) -> str:
        """Return the text that the model sees, or the messages as JSON where the server renders
        them.

        Raises UserError for a prompt that needs exact text when there is neither tokenizer nor
        template.
        """
        text = self._text(prompt.messages, prompt.prefill)
        if text is not None:
            return text
        if prompt.choices or prompt.prefill:
            raise UserError(
                f"Prompt '{prompt.id}' of {prompt.dimension} scores options or starts the answer,"
                " for which the exact text must be known. Give --tokenizer (the model's folder or"
                f" Hugging Face id) or --template ({', '.join(chat.TEMPLATES)})."
            )
        return json.dumps([message.model_dump() for message in prompt.messages], ensure_ascii=False)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt, several at a time; after a failure nothing new is asked, and what
        was being answered is still yielded.
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
                        running.add(
                            pool.submit(self._choose if prompt.choices else self._generate, prompt)
                        )
                    if not running:
                        break
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        try:
                            yield future.result()
                        except ComptrustError as error:
                            failure = failure or error
                            self._endpoint.give_up()
            finally:
                if running:
                    self._endpoint.give_up()
        if failure is not None:
            raise failure

    def _text(self, messages: Sequence[Message], prefill: str) -> str | None:
        """Return the exact text; None where only the server can render it."""
        if self.tokenizer is None and self.template is None:
            completion = [message.role for message in messages] == ["completion"]
            return messages[0].content + prefill if completion else None
        return chat.render(
            messages, tokenizer=self.tokenizer, template=self.template, prefill=prefill
        )

    def _sent(self, text: str) -> str:
        """Return the text as it is sent: the server's tokenizer puts the beginning-of-text token
        before it again.
        """
        begin = (
            chat.bos(self.tokenizer)
            if self.tokenizer is not None
            else chat.named(self.template).begin
            if self.template
            else ""
        )
        return text.removeprefix(begin)

    def _generate(self, prompt: Prompt) -> Generation:
        sampling = prompt.sampling
        settings = {
            "model": self.model,
            **sampling.model_dump(include={"temperature", "top_p", "max_tokens"}),
        }
        text = self._text(prompt.messages, prompt.prefill)
        if text is None:
            self.render(prompt)
            path = "chat/completions"
            asked: dict[str, Any] = {
                "messages": [message.model_dump() for message in prompt.messages]
            }
        else:
            path, asked = "completions", {"prompt": self._sent(text)}
        found: list[dict[str, Any]] = []
        while len(found) < sampling.n:  # a server that does not know `n` gives one answer a request
            more = {"n": sampling.n - len(found), "seed": _seed(prompt, copy=len(found))}
            found += self._choices(path, {**settings, **asked, **more}, prompt=prompt)
        found = found[: sampling.n]
        given = [
            choice.get("text") if text is not None else (choice.get("message") or {}).get("content")
            for choice in found
        ]
        texts = [answer for answer in given if isinstance(answer, str)]
        if len(texts) < len(given):
            raise ServiceError(
                f"{self._where} withheld an answer to prompt '{prompt.id}'. Nothing of it is"
                " scored; run again to go on."
            )
        return generation(
            prompt,
            texts=texts,
            finish_reasons=[str(choice.get("finish_reason") or "stop") for choice in found],
        )

    def _choose(self, prompt: Prompt) -> Generation:
        options = tuple(choice.continuation for choice in prompt.choices)
        if len(options) < 2:
            raise UserError(
                f"Prompt '{prompt.id}' of {prompt.dimension} has one choice; give it at least two,"
                " or none."
            )
        logliks = self._logliks(self.render(prompt), options, prompt=prompt)
        if prompt.content_free:
            key = (self._text(prompt.content_free, prompt.prefill) or "", options)
            with self._asking[key]:  # prompts that share it ask once
                if key not in self._free:
                    self._free[key] = self._logliks(*key, prompt=prompt)
            logliks = [value - free for value, free in zip(logliks, self._free[key], strict=True)]
        return chosen(prompt, logliks=logliks)

    def _logliks(self, text: str, options: tuple[str, ...], *, prompt: Prompt) -> list[float]:
        """Return the mean log-likelihood per token of each option after the text; a token that
        spans both belongs to the option.
        """
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
            " return the prompt's log-likelihoods. Use a server that does (vLLM), --backend hf, or"
            " only --dimensions that are answered by text."
        )
        try:
            found = self._choices("completions", body, prompt=prompt)
            if len(found) != len(options):
                raise ValueError(f"{len(found)} choices instead of {len(options)}")
            return [
                self._mean(row, text, option) for row, option in zip(found, options, strict=True)
            ]
        except Refused as error:
            raise ServiceError(f"{cannot} It said: {error}") from error
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ServiceError(cannot) from error

    def _mean(self, found: dict[str, Any], text: str, option: str) -> float:
        """Return the mean over the option's tokens: told apart by the tokenizer where there is one,
        else by the server's offsets.

        Raises ValueError, KeyError, TypeError or IndexError if the server did not echo and score
        this very text.
        """
        logprobs = found["logprobs"]
        values, tokens = logprobs["token_logprobs"], logprobs["tokens"]
        if not found["text"].endswith(option):
            raise ValueError("the prompt was not echoed")
        if self.tokenizer is not None:
            whole, begin = span(text, option, tokenizer=self.tokenizer)
            if len(values) != len(whole):
                raise ValueError(
                    f"the server reads {len(values)} tokens where the tokenizer reads {len(whole)}"
                )
            picked = [float(value) for value in values[begin:]]
        else:
            ends = [
                offset + len(token)
                for offset, token in zip(logprobs["text_offset"], tokens, strict=True)
            ]
            picked = [
                float(value)
                for value, end in zip(values, ends, strict=True)
                if end > ends[-1] - len(option)
            ]
            if not "".join(tokens).endswith(option):
                raise ValueError("the server's tokens do not spell the option")
        if not picked:
            raise ValueError("the option has no token")
        return sum(picked) / len(picked)

    def _choices(self, path: str, body: dict[str, Any], *, prompt: Prompt) -> list[dict[str, Any]]:
        """Return the choices of one request, in order."""
        try:
            found = self._endpoint.post(path, body)
        except Refused as error:
            raise Refused(
                f"Prompt '{prompt.id}' of {prompt.dimension}: {error} What was answered is kept."
            ) from error
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices:
            raise ServiceError(
                f"{self._where} answers prompt '{prompt.id}' without a choice. What was answered is"
                " kept."
            )
        return sorted(choices, key=lambda choice: int(choice["index"]))


def _seed(prompt: Prompt, *, copy: int) -> int:
    """Return a seed of 31 bits that belongs to this prompt and copy alone."""
    named = hashlib.sha256(
        f"{prompt.dimension}/{prompt.id}/{prompt.sampling.seed}/{copy}".encode()
    ).digest()
    return int.from_bytes(named[:4], "big") >> 1
