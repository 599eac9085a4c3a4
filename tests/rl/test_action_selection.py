"""Ways to decide, on scores made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rl.policies.action_selection import Chooser, expected_value, log_prob, log_softmax
from rl.policies.features import CANDIDATE_COLUMNS, Candidates
from rl.policies.numpy_actor import Scores

RATES = (2.5, 5.0, 10.0)
LOGITS = np.array([[0.0, 2.0, 1.0, -np.inf]])
VALUES = np.array([[3.0, 2.0, 1.0, 0.0]])
RATE_LOGITS = np.array([[0.0, 1.0, 0.5]])


def candidates(cost: list[float], rate_mbps: float = 6.0) -> Candidates:
    """One decision among three targets; the fourth is padding, and the best if it is not seen."""
    columns = np.zeros((1, 4, len(CANDIDATE_COLUMNS)), np.float32)
    costs = np.array([[*cost, 0.0]], np.float32)
    exists = np.array([[True, True, True, False]])
    return Candidates(exists, columns, costs, costs, costs, np.full((1, 4), rate_mbps, np.float32))


def chosen(choice: Any, cost: list[float], **changes: Any) -> tuple[int, int, float]:
    scores = Scores(LOGITS, VALUES, lambda _: RATE_LOGITS)._replace(**changes)
    found = Chooser(choice, RATES)(scores, candidates(cost), np.random.default_rng(1))
    return int(found.target[0]), int(found.rate[0]), float(found.rate_mbps[0])


def test_argmax_takes_the_likeliest_target_and_rate() -> None:
    assert chosen("argmax", [1.0, 1.0, 1.0]) == (1, 1, 5.0)


def test_qmin_takes_the_least_local_q_of_the_targets_that_exist() -> None:
    assert chosen("qmin", [1.0, 1.0, 1.0]) == (2, 1, 5.0)


def test_better_takes_the_closed_form_where_its_local_q_is_less() -> None:
    """Algorithm 1, line 5; the closed form comes with its own rate, of which 5 is the nearest."""
    assert chosen("better", [2.0, 2.0, 1.0]) == (2, 1, 6.0)
    assert chosen("better", [1.0, 2.0, 2.0]) == (1, 1, 5.0)  # Q(0) = 3 is worse than Q(1) = 2
    assert chosen("better", [2.0, 1.0, 2.0]) == (1, 1, 5.0)  # the same target: the actor's rate


def test_samples_follow_the_probabilities() -> None:
    many = 20_000
    scores = Scores(
        np.repeat(LOGITS, many, 0),
        np.repeat(VALUES, many, 0),
        lambda _: RATE_LOGITS.repeat(many, 0),
    )
    one = candidates([1.0, 1.0, 1.0])
    found = Chooser("sample", RATES)(scores, one, np.random.default_rng(1))
    for drawn, logits in ((found.target, LOGITS[0]), (found.rate, RATE_LOGITS[0])):
        wanted = np.exp(logits) / np.exp(logits).sum()
        shares = np.bincount(drawn, minlength=len(logits)) / many
        # Five standard errors of a share.
        assert (np.abs(shares - wanted) <= 5.0 * np.sqrt(wanted * (1.0 - wanted) / many)).all()
    assert found.rate_mbps.tolist() == [RATES[k] for k in found.rate]


def test_what_stays_at_home_has_no_rate() -> None:
    logs = log_softmax(LOGITS)
    scores = Scores(LOGITS, VALUES, lambda _: RATE_LOGITS)
    away = Chooser("argmax", RATES)(scores, candidates([1.0, 1.0, 1.0]), np.random.default_rng(1))
    home = away._replace(target=np.array([0]))
    assert log_prob(logs, home) == pytest.approx(logs[0, 0])
    assert log_prob(logs, away) == pytest.approx(logs[0, 1] + log_softmax(RATE_LOGITS)[0, 1])


def test_expected_value_is_the_mean_over_the_policy() -> None:
    p = np.exp(LOGITS[0, :3]) / np.exp(LOGITS[0, :3]).sum()
    assert expected_value(log_softmax(LOGITS), VALUES) == pytest.approx(p @ VALUES[0, :3])
