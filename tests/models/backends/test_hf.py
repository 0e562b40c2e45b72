"""Asking a local model: an answer depends on its prompt alone, and option likelihoods are those of
a direct computation.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from comptrust.errors import ServiceError, UserError
from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.answered import Answered
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.models.backends.hf import Hf
from comptrust.models.inference import packed, reading
from comptrust.models.inference.engine import Engine, Request
from comptrust.models.inference.generated import Generated
from comptrust.models.inference.packed import Packed
from comptrust.models.inference.padded import Padded
from comptrust.records import NOT_FINITE, Choice, Message, Prompt, Sampling
from comptrust.trust.run import evaluate
from tests.support import questions

SHARED = "These opening words are shared by all the prompts. "
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "n": 3, "seed": 1}
CHOICES = tuple(
    Choice(text=text, continuation=f" {words}")
    for text, words in [("A", "yes"), ("B", "no way"), ("C", "maybe")]
)


def prompts() -> list[Prompt]:
    made = []
    for index in range(7):
        question = f"{SHARED}{'x' * (index % 5) * 3} q{index}"
        turn = (Message(role="user", content=question),)
        plain = {
            "messages": (Message(role="completion", content=question),),
            "prefill": " ->",
            "choices": CHOICES,
        }
        free = (Message(role="completion", content=f"{SHARED}N/A"),)
        kinds = {
            "greedy": {"messages": turn, "sampling": Sampling(max_tokens=12)},
            "sampled": {
                "messages": turn,
                "sampling": Sampling(max_tokens=9 + index % 3, **SAMPLED),
            },
            "choice": plain,
            "calibrated": {**plain, "reference": free},
        }
        made += [
            Prompt(id=f"{kind}#{index}", dimension="ethics", scenario=kind, **fields)
            for kind, fields in kinds.items()
        ]
    return made


@pytest.fixture(scope="module", params=[Packed, Padded, Generated])
def backend(tiny_model: Path, request: pytest.FixtureRequest) -> Hf:
    made = Hf(tiny_model, batch_size=5)
    assert isinstance(made.engine, Packed)
    made.engine = request.param(made.model, batch_size=5, ends=made.ends)
    return made


def test_cost_is_measured_of_the_engine_that_answers(backend: Hf) -> None:
    before = [answer.texts for answer in backend.answer(prompts())]
    cost = backend.cost()
    assert cost.first_token_seconds and cost.tokens_per_second and cost.peak_bytes
    assert cost.peak_bytes > 1e7  # the process has more than that
    assert cost.how == "128 tokens in, 17 out" and cost.where.startswith("hf, float32, ")
    assert [answer.texts for answer in backend.answer(prompts())] == before


def test_an_answer_depends_on_its_prompt_alone(backend: Hf, tiny_model: Path) -> None:
    asked = prompts()
    together = {answer.id: answer for answer in backend.answer(asked)}
    alone = Hf(tiny_model)
    alone.engine = Generated(alone.model, batch_size=1, ends=alone.ends)
    random.Random(0).shuffle(asked)
    assert together.keys() == {prompt.id for prompt in asked}
    for prompt in asked:
        [answer] = alone.answer([prompt])
        other = together[prompt.id]
        assert (answer.texts, answer.finish_reasons) == (
            other.texts,
            other.finish_reasons,
        ), prompt.id
        assert answer.extra.get("loglik", []) == pytest.approx(
            other.extra.get("loglik", []), abs=1e-4
        )
        assert len(answer.texts) == len(answer.finish_reasons) == prompt.sampling.n
        assert set(answer.finish_reasons) <= ({"choice"} if prompt.choices else {"stop", "length"})


def asked_about(system: str, reference: str) -> list[Prompt]:
    """Return ten questions after a long system text, whose options are compared with a reference.

    The questions are two scenarios in turn.
    """
    first = Message(role="system", content=system)
    return [
        Prompt(
            id=f"{system[:3]}{number}",
            dimension="mmlu",
            scenario=f"s{number % 2}",
            messages=(first, Message(role="user", content=f"Question {number}?")),
            reference=(first, Message(role="user", content=reference)),
            choices=(Choice(text="A", continuation="Yes."), Choice(text="B", continuation="No.")),
        )
        for number in range(10)
    ]


@pytest.mark.parametrize("held", [10_000, 200])
def test_prompts_that_were_announced_share_their_beginnings_in_small_steps(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """They do so up to the memory that held beginnings may take; then they are read again."""
    asked = [
        *asked_about("You answer with one word. " * 5, "Answer:"),
        *asked_about("Be" * 40, "N"),
    ]
    model = Hf(tiny_model)
    whole = {answer.id: answer for answer in model.answer(asked)}
    forward, tokens = reading.forward, list[int]()

    def counted(model: object, ids: list[int], *rest: object, **named: object) -> torch.Tensor:
        tokens.append(len(ids))
        return forward(model, ids, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "forward", counted)
    monkeypatch.setattr(packed, "MAX_HELD_BYTES", held * packed._token_bytes(model.model))
    read = {}
    for announced in (False, True):
        tokens.clear()
        model = Hf(tiny_model)
        if announced:
            model.expect(asked)
        steps = [asked[place::10] for place in range(10)]  # one prompt of each half
        found = [answer for step in steps for answer in model.answer(step)]
        read[announced] = sum(tokens)
        assert {answer.id for answer in found} == whole.keys()
        for answer in found:
            assert answer.texts == whole[answer.id].texts
            for values, others in zip(
                *(one.extra["loglik"] for one in (answer, whole[answer.id])), strict=True
            ):
                assert values == pytest.approx(others, abs=1e-5)
    assert (read[True] < 0.5 * read[False]) == (held == 10_000)


def test_copies_and_seeds_differ(backend: Hf) -> None:
    prompt = next(prompt for prompt in prompts() if prompt.scenario == "sampled")
    other = prompt.model_copy(update={"sampling": prompt.sampling.model_copy(update={"seed": 2})})
    [first], [again], [second] = (
        list(backend.answer([asked])) for asked in (prompt, prompt, other)
    )
    assert first == again
    assert len({*first.texts, *second.texts}) == 6


def test_likelihoods_are_those_of_a_direct_computation(backend: Hf) -> None:
    import torch

    def mean_loglik(context: str, continuation: str) -> float:
        begin = len(backend.tokenizer(context, add_special_tokens=False)["input_ids"])
        whole = backend.tokenizer(context + continuation, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            chances = backend.model(torch.tensor([whole])).logits[0].float().log_softmax(dim=-1)
        return sum(
            chances[position - 1, whole[position]].item() for position in range(begin, len(whole))
        ) / (len(whole) - begin)

    asked = {prompt.id: prompt for prompt in prompts() if prompt.choices}
    for answer in backend.answer(list(asked.values())):
        prompt = asked[answer.id]
        expected = [mean_loglik(backend.render(prompt), choice.continuation) for choice in CHOICES]
        if prompt.reference:
            free = backend.render(prompt.model_copy(update={"messages": prompt.reference}))
            expected = [
                value - mean_loglik(free, choice.continuation)
                for value, choice in zip(expected, CHOICES, strict=True)
            ]
        assert answer.extra["loglik"] == pytest.approx(expected, abs=1e-4)
        best, second = sorted(expected, reverse=True)[:2]
        assert answer.extra["margin"] == pytest.approx(best - second, abs=1e-4)
        assert answer.texts == (CHOICES[expected.index(best)].text,)


def test_rows_answer_alike_in_groups_by_length(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of unlike length are decoded in several groups, which lose rows and end one by one;
    nothing that is unset is read.
    """
    import torch

    from comptrust.models.inference import packed

    asked = [prompt for prompt in prompts() if not prompt.choices]
    longer = (Message(role="user", content=f"{SHARED}{'y' * 40}"),)
    asked += [
        Prompt(
            id="long",
            dimension="ethics",
            scenario="greedy",
            messages=longer,
            sampling=Sampling(max_tokens=12),
        )
    ]
    plain = {answer.id: answer.texts for answer in Hf(tiny_model, batch_size=1).answer(asked)}
    monkeypatch.setattr(packed, "MIN_PADDING_SAVED_TO_SPLIT", 1)
    monkeypatch.setattr(packed, "MIN_ROWS_PER_SHARED_BEGINNING", 2)
    backend = Hf(tiny_model)  # before: its start-up comparison computes rows, too
    counts = []
    start = packed._start

    def counted(*arguments: object) -> object:
        requests, decoding, logits = start(*arguments)
        counts.append([len(group.bases) for group in decoding.groups])
        return requests, decoding, logits

    monkeypatch.setattr(packed, "_start", counted)
    torch.use_deterministic_algorithms(True)  # fills memory that is unset with NaN
    try:
        assert torch.ones(1).new_empty(2).isnan().all()
        found = {answer.id: answer.texts for answer in backend.answer(asked)}
    finally:
        torch.use_deterministic_algorithms(False)
    assert found == plain
    assert max(len(groups) for groups in counts) >= 3
    assert sum(map(sum, counts)) == sum(prompt.sampling.n for prompt in asked)


def test_one_choice_is_refused(backend: Hf) -> None:
    prompt = next(prompt for prompt in prompts() if prompt.choices).model_copy(
        update={"choices": CHOICES[:1]}
    )
    with pytest.raises(UserError, match=f"'{prompt.id}' of ethics has one choice"):
        list(backend.answer([prompt]))


@pytest.mark.parametrize("field", ["max_tokens", "n"])
def test_a_decoding_without_an_answer_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Sampling(**{field: 0})


def test_a_folder_that_is_no_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No model folder .*/missing"):
        Hf(tmp_path / "missing")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"Cannot load the model in .*broken"):
        Hf(broken)


def test_provenance_names_the_template(backend: Hf, tiny_model: Path) -> None:
    assert {
        "backend": "hf",
        "template": "own",
        "dtype": "torch.float32",
    }.items() <= backend.describe().items()
    assert Hf(tiny_model, template="llama-2").describe()["template"] == "llama-2"
    assert int(backend.machine()["threads"]) > 0 and backend.machine()["accelerators"]
    assert not backend.machine().keys() & backend.describe().keys(), (
        "what a continued run is held against names no machine"
    )


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
def test_an_answer_reads_alike_whatever_the_tokenizer_puts_before_it(
    kind: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each model answers with its token for `A` after a space; MMLU reads the first character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Hf(tiny_model)
    if kind == "sentencepiece":
        words = ["<unk>", "<s>", "</s>", "▁Answer:", *(f"▁{letter}" for letter in "ABCD")]
        vocabulary = {word: index for index, word in enumerate(words)}
        core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.Metaspace()
        core.decoder = decoders.Metaspace()
        made.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
        )
        made.ends = {2}

    answers = {letter: letter for letter in "ABCD"}

    def decode(requests: list[Request]) -> Iterator[tuple[Request, list[int]]]:
        for request in requests:
            text = f" {answers[request.prompt.target]}"
            ids = made.tokenizer(text, add_special_tokens=False)["input_ids"]
            yield request, [*ids, next(iter(made.ends))]

    monkeypatch.setattr(made.engine, "decode", decode)
    asked = [
        prompt.model_copy(
            update={
                "choices": (),
                "messages": (Message(role="completion", content="Answer:"),),
            }
        )
        for prompt in questions.suite().prompts
    ]
    suite = questions.suite().model_copy(update={"prompts": tuple(asked)})
    done = evaluate(made, suite, out=tmp_path, checkpoint_digest="c")
    assert [answer.texts for answer in done.generations["mmlu"]] == [(one,) for one in "ABCD"]
    [score] = done.scorecard.scores
    assert (score.value, score.refusal_rate) == (100, 0)
    # A model that is always wrong used to score the same.
    answers |= dict(zip("ABCD", "BCDA", strict=True))
    wrong = evaluate(made, suite, out=tmp_path / "wrong", checkpoint_digest="d")
    assert [(one.value, one.refusal_rate) for one in wrong.scorecard.scores] == [(0, 0)]
    assert MaxDrop().check(Evidence(wrong, done)).outcome == "block"


@pytest.mark.parametrize("choices", [CHOICES, ()], ids=["choose", "generate"])
@pytest.mark.parametrize("engine", [Packed, Padded, Generated])
def test_a_prompt_without_numbers_is_not_measured_and_changes_no_other(
    engine: type[Engine], choices: tuple[Choice, ...], tiny_model: Path, tmp_path: Path
) -> None:
    made = Hf(tiny_model)
    made.engine = engine(made.model, batch_size=3, ends=made.ends)
    prompts = [
        prompt.model_copy(update={"choices": choices, "sampling": Sampling(max_tokens=4)})
        for prompt in questions.suite().prompts
    ]
    tokens = [set(made.tokenizer(made.render(prompt))["input_ids"]) for prompt in prompts]
    [rare, *_] = tokens[1] - set().union(tokens[0], *tokens[2:])
    plain = list(made.answer(prompts))
    head = made.model.lm_head.weight.detach().clone()  # tied to the embeddings
    made.model.lm_head.weight = torch.nn.Parameter(head)
    with torch.no_grad():
        made.model.get_input_embeddings().weight[rare] = torch.nan
    again = {answer.id: answer for answer in made.answer(prompts)}
    assert again[prompts[1].id].finish_reasons == (NOT_FINITE,)
    others = [answer for answer in plain if answer.id != prompts[1].id]
    assert others and all(again[answer.id].withheld is None for answer in others)
    if choices:
        for answer in others:
            expected = pytest.approx(answer.extra["loglik"], abs=1e-4)
            assert again[answer.id].extra["loglik"] == expected
    else:
        assert all(again[answer.id].texts == answer.texts for answer in others)
    suite = questions.suite().model_copy(update={"prompts": tuple(prompts)})
    if choices:
        done = evaluate(made, suite, out=tmp_path / "out", checkpoint_digest="c")
        [score] = done.scorecard.scores
        assert score.n_withheld == 1 and NOT_FINITE in str(score.withheld)
        found = Answered().check(Evidence(done, done))
        assert found.outcome == "inconclusive" and NOT_FINITE in found.reason
    with torch.no_grad():
        made.model.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(ServiceError, match="not finite for any prompt"):
        evaluate(made, suite, out=tmp_path / "all", checkpoint_digest="d")
    assert not (tmp_path / "all" / "scorecard.json").exists()


def test_prompts_beyond_the_window_are_left_out_and_named_first(
    tiny_model: Path, tmp_path: Path
) -> None:
    """The window holds 200 tokens, here bytes."""
    made = Hf(tiny_model)
    made.model.config.max_position_embeddings = 200
    short, *others = questions.suite().prompts
    long = (Message(role="user", content="x" * 200),)
    prompts = [short] + [
        prompt.model_copy(update={"messages": long, "scenario": "long", "choices": choices})
        for prompt, choices in zip(others, [CHOICES, (), ()], strict=True)
    ]
    required = {"mmlu": ("mmlu", "long")}
    suite = questions.suite().model_copy(update={"prompts": tuple(prompts), "required": required})
    lines: list[str] = []
    done = evaluate(made, suite, out=tmp_path, checkpoint_digest="c", say=lines.append)
    assert lines[0].startswith("3 prompts left out: too long") and "mmlu/long" in lines[1]
    [score] = done.scorecard.scores
    assert (score.value, score.missing, score.n_scored) == (None, ("long",), 1)
    assert score.withheld == {"long": {"too_long": 3}}
    evidence = Evidence(done, done).without(["mmlu/long", "mmlu/mmlu"])
    assert evidence.excluded == ("mmlu/long",)
    [score] = evidence.candidate.scorecard.scores
    assert score.value is not None and not score.withheld
    with pytest.raises(UserError, match="None of the 3 prompts of suite questions fits"):
        suite = suite.model_copy(update={"prompts": tuple(prompts[1:])})
        evaluate(made, suite, out=tmp_path / "none", checkpoint_digest="c")
