"""Answer prompts through a server that speaks the OpenAI API: chat completions, and completions for exact text and options."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

from comptrust.errors import ServiceError, UserError
from comptrust.models import chat
from comptrust.models.base import Backend, chosen, generation
from comptrust.records import Generation, Message, Prompt

KEY = "OPENAI_API_KEY"


class Openai(Backend):
    """A model that a server names; `base_url` ends in the API's root, such as http://localhost:8000/v1.

    Conversations go to the chat endpoint, where the server's own template applies. With a `template` they are rendered here and go to
    the completions endpoint, as `completion` prompts always do; the beginning-of-text token is left to the server.
    """

    def __init__(
        self, model: str, *, base_url: str, batch_size: int = 8, template: str | None = None, attempts: int = 5, wait: float = 1.0
    ) -> None:
        """`batch_size` requests run at once; `wait` is the first pause in seconds between attempts, which doubles.

        Raises UserError for a URL that is not http(s) or an unknown template.
        """
        if not base_url.startswith(("http://", "https://")):
            raise UserError(f"Base URL '{base_url}' is not an http(s) address. Give the API's root, such as http://localhost:8000/v1.")
        if template is not None:
            chat.named(template)
        self.model, self.url, self.template = model, base_url.rstrip("/"), template
        self._workers, self._attempts, self._wait = batch_size, attempts, wait
        self._free: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def describe(self) -> dict[str, str]:
        """Return provenance; what the server runs under the model's name, it does not tell."""
        return {"backend": "openai", "template": self.template or "server", "server": self.url, "model": self.model}

    def render(self, prompt: Prompt) -> str:
        """Return the text that is sent, or the messages as JSON where the server renders them.

        Raises UserError for a prompt that needs exact text when there is no template.
        """
        text = self._text(prompt.messages, prompt.prefill)
        if text is not None:
            return text
        if prompt.choices or prompt.prefill:
            raise UserError(
                f"Prompt '{prompt.id}' of {prompt.dimension} scores options or starts the answer, for which the exact text must be known. "
                f"Give --template ({', '.join(chat.TEMPLATES)})."
            )
        return json.dumps([message.model_dump() for message in prompt.messages], ensure_ascii=False)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt in order, several at a time."""
        with ThreadPoolExecutor(self._workers) as pool:
            yield from pool.map(lambda prompt: self._choose(prompt) if prompt.choices else self._generate(prompt), prompts)

    def _text(self, messages: Sequence[Message], prefill: str) -> str | None:
        if [message.role for message in messages] == ["completion"]:
            return messages[0].content + prefill
        return None if self.template is None else chat.named(self.template)(messages).removeprefix("<s>") + prefill

    def _generate(self, prompt: Prompt) -> Generation:
        settings = {**prompt.sampling.model_dump(), "model": self.model}
        text = self._text(prompt.messages, prompt.prefill)
        if text is None:
            self.render(prompt)
            turns = [message.model_dump() for message in prompt.messages]
            found = self._post("chat/completions", {**settings, "messages": turns}, count=prompt.sampling.n)
            texts = [choice.get("message", {}).get("content") for choice in found]
        else:
            found = self._post("completions", {**settings, "prompt": text}, count=prompt.sampling.n)
            texts = [choice.get("text") for choice in found]
        if not all(isinstance(text, str) for text in texts):
            raise ServiceError(f"{self.url} withheld an answer to prompt '{prompt.id}'. Nothing of it is scored; run again to go on.")
        return generation(prompt, texts=texts, finish_reasons=[str(choice.get("finish_reason") or "stop") for choice in found])

    def _choose(self, prompt: Prompt) -> Generation:
        options = tuple(choice.continuation for choice in prompt.choices)
        logliks = self._logliks(self.render(prompt), options)
        if prompt.content_free:
            key = (self._text(prompt.content_free, prompt.prefill) or "", options)
            if key not in self._free:
                self._free[key] = self._logliks(*key)
            logliks = [value - free for value, free in zip(logliks, self._free[key], strict=True)]
        return chosen(prompt, logliks=logliks)

    def _logliks(self, text: str, options: tuple[str, ...]) -> list[float]:
        """Return the mean log-likelihood per token of each option after the text; a token that spans both belongs to the option."""
        body = {"model": self.model, "prompt": [text + option for option in options], "echo": True, "logprobs": 1, "max_tokens": 0}
        values = []
        for option, found in zip(options, self._post("completions", body, count=len(options)), strict=True):
            try:
                logprobs = found["logprobs"]
                ends = [offset + len(token) for offset, token in zip(logprobs["text_offset"], logprobs["tokens"], strict=True)]
                begin = ends[-1] - len(option)
                picked = [float(value) for value, end in zip(logprobs["token_logprobs"], ends, strict=True) if end > begin]
                if not found["text"].endswith(option):
                    raise ValueError("the prompt was not echoed")
                values.append(sum(picked) / len(picked))
            except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
                raise ServiceError(
                    f"{self.url} cannot score options: /completions with echo and logprobs does not return the prompt's log-likelihoods. "
                    "Use a server that does (vLLM), or --backend hf."
                ) from error
        return values

    def _post(self, path: str, body: dict[str, Any], *, count: int) -> list[dict[str, Any]]:
        """Return the `count` choices of one request, in order; a busy or unreachable server is asked again."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.url}/{path}", data=json.dumps(body).encode(), headers=headers, method="POST")
        reason = ""
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._wait * 2 ** (attempt - 1))
            try:
                with urllib.request.urlopen(request, timeout=600) as answer:
                    choices = sorted(json.load(answer)["choices"], key=lambda choice: choice["index"])
                if len(choices) == count:
                    return choices
                reason = f"{len(choices)} choices instead of {count}"
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code}: {' '.join(error.read().decode(errors='replace').split())[:200]}"
                if error.code in (401, 403, 404):
                    raise UserError(
                        f"{self.url}/{path} refuses model '{self.model}' ({reason}). Check --base-url, model and {KEY}."
                    ) from error
                if error.code != 429 and error.code < 500:
                    break
            except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
                reason = f"{type(error).__name__}: {error}"
        raise ServiceError(f"{self.url}/{path} does not answer ({reason}). What was answered is kept; run again to go on.")
