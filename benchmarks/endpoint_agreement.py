"""Hold a served model against the same model loaded here: `python benchmarks/endpoint_agreement.py
MODEL [--base-url URL [--name NAME]]`.

Prints, for each dimension of the mini suite, how often the server's answer and its parsed form are
those of the backend `hf`, how far the options' log-likelihoods are apart, and how many prompt
tokens the server says that it computed: as asked now, and with whole texts that it echoes. Prompts
that sample are left out. Without a URL, a vLLM server of the model is started; others are started
first, for example:

    transformers serve MODEL --port 8000 --dtype float32            # answers text; cannot score
    options
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import httpx

from comptrust.errors import ServiceError
from comptrust.models import engines
from comptrust.models.backends.hf import Hf
from comptrust.models.backends.openai import Openai
from comptrust.models.base import Backend
from comptrust.models.engines import EngineOptions
from comptrust.models.sources import resolve
from comptrust.records import Generation, Prompt
from comptrust.trust import base, suite

HEAD = (
    "| dimension | answered by | prompts | same answer | same when parsed | not the same and no tie"
    " | largest log-likelihood difference | prompt tokens computed | by echo | s, hf |"
    " s, server |"
)
TIE = 2e-3
"""Margin of hf up to which another choice is no disagreement."""
COMPUTED = re.compile(r"^vllm:request_prefill_kv_computed_tokens_sum\{.*\} (\S+)$", re.M)


def answers(backend: Backend, prompts: Sequence[Prompt]) -> tuple[dict[str, Generation], float]:
    """Return the answers by prompt id and the seconds that they took."""
    began = time.monotonic()
    return {answer.id: answer for answer in backend.answer(prompts)}, time.monotonic() - began


def computed(served: Openai) -> float:
    """Return the prompt tokens that the server has computed since it started, 0 if it is silent."""
    url = served._endpoint.url.removesuffix("/v1") + "/metrics"
    return sum(map(float, COMPUTED.findall(httpx.get(url, timeout=60).text)))


def by_echo(served: Openai, prompts: Sequence[Prompt]) -> str:
    """Return the prompt tokens that the server computes if whole texts are echoed."""
    served._asks_tokens, usual = False, served._asks_tokens
    served._references.clear()
    before = computed(served)
    list(served.answer(prompts))
    served._asks_tokens = usual
    return f"{computed(served) - before:.0f}"


def row(
    dimension: str,
    how: str,
    here: Backend,
    served: Openai,
    prompts: Sequence[Prompt],
    *,
    echo: bool,
) -> str:
    """Ask both and return one row of the table."""
    mine, mine_seconds = answers(here, prompts)
    before = computed(served)
    try:
        theirs, their_seconds = answers(served, prompts)
    except ServiceError as error:
        return (
            f"| {dimension} | {how} | {len(prompts)} | not measured: {str(error)[:90]}... | | | | |"
            f" | {mine_seconds:.0f} | |"
        )
    tokens = computed(served) - before
    echoed = by_echo(served, prompts) if echo and how == "options" else ""
    clear = [
        prompt.id
        for prompt in prompts
        if mine[prompt.id].extra.get("margin", 1.0) > TIE
        and _texts(mine[prompt.id]) != _texts(theirs[prompt.id])
    ]
    judge = base.get(dimension).judge
    same = sum(_texts(mine[prompt.id]) == _texts(theirs[prompt.id]) for prompt in prompts)
    parsed = sum(
        _parsed(judge, mine[prompt.id]) == _parsed(judge, theirs[prompt.id]) for prompt in prompts
    )
    apart = [
        abs(one - other)
        for prompt in prompts
        for one, other in zip(
            mine[prompt.id].extra.get("loglik", []),
            theirs[prompt.id].extra.get("loglik", []),
            strict=True,
        )
    ]
    cells = [
        dimension,
        how,
        str(len(prompts)),
        _share(same, len(prompts)),
        _share(parsed, len(prompts)),
    ]
    return (
        f"| {' | '.join(cells)} | {len(clear) if apart else ''} |"
        f" {f'{max(apart):.5f}' if apart else ''} | {tokens:.0f} | {echoed} | {mine_seconds:.0f} |"
        f" {their_seconds:.0f} |"
    )


def _texts(answer: Generation) -> list[str]:
    """Return the texts without the mark of a last character that the length cut in two, which vLLM
    does not send.
    """
    return [text.rstrip("\ufffd") for text in answer.texts]


def _parsed(judge: object, answer: Generation) -> str:
    rated = answer.model_copy(
        update={"extra": {**answer.extra, "toxicity": [0.0] * len(answer.texts)}}
    )
    return judge(rated).answer  # type: ignore[operator]


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.1f}%)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--base-url", help="of a server [default: vLLM is started]")
    parser.add_argument(
        "--name", help="the model's name on the server [default: the model's folder]"
    )
    parser.add_argument("--dimensions", help="comma-separated [default: all]")
    parser.add_argument("--limit", type=int, help="items per scenario [default: all]")
    parser.add_argument("--sample", type=int, help="prompts per dimension [default: all]")
    parser.add_argument("--echo", action="store_true", help="also count tokens with echoed texts")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--workers", type=int, default=8)
    given = parser.parse_args()
    path = resolve(given.model).path
    here = Hf(path, dtype=given.dtype)
    with contextlib.ExitStack() as stack:
        if given.base_url:
            served = Openai(
                given.name or str(path),
                base_url=given.base_url,
                tokenizer=here.tokenizer,
                batch_size=given.workers,
            )
        else:
            options = EngineOptions(engine="vllm", dtype=given.dtype, batch_size=given.workers)
            log = Path("vllm.log")
            start = engines.opened(path, options, name="served", log=log, say=print)
            served = cast(Openai, stack.enter_context(start))
        compare(given, here, served)


def compare(given: argparse.Namespace, here: Hf, served: Openai) -> None:
    """Print the table of one server."""
    print(" ".join(f"{key}={value}" for key, value in served.describe().items()), flush=True)
    loaded = suite.load(
        "mini",
        dimensions=given.dimensions.split(",") if given.dimensions else None,
        limit=given.limit,
    )
    differ = sum(here.render(prompt) != served.render(prompt) for prompt in loaded.prompts)
    print(
        f"{len(loaded.prompts)} prompts, {differ} of them rendered"
        f" differently\n\n{HEAD}\n|{'---|' * 11}",
        flush=True,
    )
    for dimension in loaded.required:
        own = [prompt for prompt in loaded.prompts if prompt.dimension == dimension]
        if given.sample and given.sample < len(own):
            own = random.Random(0).sample(own, given.sample)
        for how, prompts in (
            ("options", [prompt for prompt in own if prompt.choices]),
            (
                "greedy text",
                [
                    prompt
                    for prompt in own
                    if not prompt.choices and prompt.sampling.temperature == 0
                ],
            ),
        ):
            if prompts:
                print(row(dimension, how, here, served, prompts, echo=given.echo), flush=True)


if __name__ == "__main__":
    main()
