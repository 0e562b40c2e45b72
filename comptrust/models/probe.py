"""How far compression moved the model itself: its perplexity on a fixed text, and its divergence
from the dense model there.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError
from comptrust.models import chat, loading

if TYPE_CHECKING:
    import torch

TEXT = (
    "The harbour office opens at seven, but the pilots are awake long before that. Every morning"
    " they read the water level, the wind and the list of ships that wait outside the breakwater,"
    " and then they agree on an order. A loaded tanker needs the deep channel at high tide; a ferry"
    " keeps its timetable and goes first. In 1987 the town built a second lock, which cut the"
    " waiting time from four hours to ninety minutes. Not everyone was pleased. Fishermen said that"
    " the new gates changed the current, and a biologist who counted eels for twelve years found"
    " that they were right: fewer young fish reached the river. The council paid for a small side"
    " channel with low steps of stone. It cost less than a month of dredging, and within three"
    " summers the eels were back.\n\nVisitors often ask how a pilot learns the work. There is a"
    " school, of course, with a simulator and an exam of 200 questions. But most of it is learned"
    " on the bridge, next to somebody older, in fog. You listen to the engine, you watch the buoys,"
    " and you say aloud what you expect to happen next. If you are wrong three times, you go home"
    " and sleep.\n"
)
"""Plain prose written for this project, so that no model was trained on it on purpose."""


def probe(path: Path, dense: Path | None) -> dict[str, float]:
    """Return `probe/perplexity` of the model on TEXT and, given the dense model, `probe/kl`.

    Perplexity is exp of the mean negative log-likelihood per token. KL is the mean over the same
    positions of KL(dense || compressed) of the next-token distribution, in nats. Raises UserError
    if a folder is no model or the two do not share one vocabulary.
    """
    tokens, own = _log_chances(path)
    picked = own[range(len(tokens)), tokens]
    found = {"probe/perplexity": math.exp(-picked.mean().item())}
    if dense is not None:
        same, reference = _log_chances(dense)
        if same != tokens or reference.shape != own.shape:
            raise UserError(
                f"{path} and {dense} do not share one vocabulary, so that their predictions cannot"
                " be compared."
            )
        divergence = (reference.exp() * (reference - own)).sum(dim=-1).mean().item()
        found["probe/kl"] = max(0.0, divergence)
    return found


def _log_chances(path: Path) -> tuple[list[int], torch.Tensor]:
    """Return TEXT's tokens and the log-chances of each position's next token, shape (tokens,
    vocabulary), float64.

    The first token is predicted from the beginning-of-text token; a model without one predicts from
    the second token on.
    """
    import torch

    model, tokenizer = loading.load(path)
    ids = tokenizer(chat.bos(tokenizer) + TEXT, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = model(torch.tensor([ids], device=model.device)).logits[0, :-1]
    return ids[1:], logits.double().cpu().log_softmax(dim=-1)
