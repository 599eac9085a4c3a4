"""How an actor's scores become decisions: on a device one at a time, in training many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl.policies.checkpoint import Choice
from rl.policies.features import Candidates
from rl.policies.numpy_actor import Scores, at


class Chosen(NamedTuple):
    """K decisions, or one (no K then).

    Attributes:
        target: index of the target, (K,).
        rate: index of the rate, (K,); of a rate between two, that of the nearest.
        rate_mbps: the rate itself, Mbps, (K,).
        rate_logits: of the rates at the target, (K, R).
    """

    target: NDArray[np.int64]
    rate: NDArray[np.int64]
    rate_mbps: NDArray[np.float64]
    rate_logits: NDArray[Any]


Choose = Callable[[Scores, Candidates, np.random.Generator], Chosen]


class Chooser:
    """One of the ways to decide.

    Args:
        choice: its name.
        rates_mbps: the rates to choose from, Mbps.
    """

    def __init__(self, choice: Choice, rates_mbps: Sequence[float]):
        self._choice: Choice = choice
        self._rates = np.asarray(rates_mbps, dtype=np.float64)

    def __call__(self, scores: Scores, candidates: Candidates, rng: np.random.Generator) -> Chosen:
        """Decide K times, or once."""
        if self._choice == "sample":
            target = _draw(scores.logits, rng)
        elif self._choice == "qmin":
            target = np.where(candidates.exists, scores.values, np.inf).argmin(axis=-1)
        else:
            target = scores.logits.argmax(axis=-1)
        if self._choice == "better":
            return self._better(scores, candidates, target)
        logits = scores.rate_logits(target)
        rate = _draw(logits, rng) if self._choice == "sample" else logits.argmax(axis=-1)
        return Chosen(target, rate, self._rates[rate], logits)

    def _better(self, scores: Scores, candidates: Candidates, actors: NDArray[np.int64]) -> Chosen:
        """Algorithm 1, line 5: the actor's action or the closed form's, by the local Q."""
        closed = np.where(candidates.exists, candidates.cost, np.inf).argmin(axis=-1)
        wins = at(scores.values, closed) < at(scores.values, actors)
        target = np.where(wins, closed, actors)
        logits = scores.rate_logits(target)
        asked = at(candidates.rate_mbps, closed).astype(np.float64)
        rate_mbps = np.where(wins, asked, self._rates[logits.argmax(axis=-1)])
        nearest = np.abs(self._rates - rate_mbps[..., None]).argmin(axis=-1)
        return Chosen(target, nearest, rate_mbps, logits)


def _draw(logits: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """An index of each row by its softmax: the largest after adding Gumbel noise."""
    index: NDArray[np.int64] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)
    return index


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Log-probabilities along the last axis."""
    above = logits - logits.max(axis=-1, keepdims=True)
    result: NDArray[Any] = above - np.log(np.exp(above).sum(axis=-1, keepdims=True))
    return result


def expected_value(target_logs: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Σ_u π(u) Q(u), (K,), of log-probabilities and the local Q, (K, T) each."""
    result: NDArray[Any] = (np.exp(target_logs) * values).sum(axis=-1)
    return result


def log_prob(target_logs: NDArray[Any], chosen: Chosen) -> NDArray[Any]:
    """Log π(target, rate), (K,), from log-probabilities of the targets, (K, T).

    A task that stays at home has no rate, whatever was drawn for it.
    """
    rates = at(log_softmax(chosen.rate_logits), chosen.rate)
    result: NDArray[Any] = at(target_logs, chosen.target)
    return result + np.where(chosen.target > 0, rates, 0.0)
