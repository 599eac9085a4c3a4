"""How the actor's scores become decisions, many at once: ``rl.policies.learned`` in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from rl.learning.collector import Choose, sample
from rl.learning.networks import Question, Scores
from rl.policies.features import Candidates
from rl.policies.weights import Choice


def _with_best_rate(scores: Scores, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rate = scores.rate_logits[torch.arange(len(target)), target].argmax(dim=-1)
    return target, rate, torch.zeros(len(target))


def _argmax(scores: Scores, _: Question, __: Candidates) -> tuple[Tensor, Tensor, Tensor]:
    return _with_best_rate(scores, scores.logits.argmax(dim=-1))


def _qmin(scores: Scores, question: Question, _: Candidates) -> tuple[Tensor, Tensor, Tensor]:
    values = scores.values.masked_fill(~question.exists, torch.inf)
    return _with_best_rate(scores, values.argmin(dim=-1))


class Better:
    """The actor's likeliest action or the closed form's, whichever the local Q finds better.

    The closed form's rate is continuous; of the discrete ones the nearest stands for it here.
    """

    def __init__(self, rates_mbps: tuple[float, ...]):
        self._rates = torch.tensor(rates_mbps)

    def __call__(
        self, scores: Scores, question: Question, candidates: Candidates
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Algorithm 1, line 5, of K decisions."""
        target, rate, zeros = _argmax(scores, question, candidates)
        closed = question.cost.masked_fill(~question.exists, torch.inf).argmin(dim=-1)
        rows = torch.arange(len(target))
        wins = scores.values[rows, closed] < scores.values[rows, target]
        asked = torch.from_numpy(candidates.rate_mbps)[rows, closed]
        nearest = (self._rates - asked[:, None]).abs().argmin(dim=-1)
        return torch.where(wins, closed, target), torch.where(wins, nearest, rate), zeros


def chooser(choice: Choice, rates_mbps: tuple[float, ...]) -> Choose:
    """The function behind the name of a choice."""
    if choice == "better":
        return Better(rates_mbps)
    return {"sample": sample, "argmax": _argmax, "qmin": _qmin}[choice]
