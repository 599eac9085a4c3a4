"""The rules: made by name, sane in what they choose, told what they may see."""

from __future__ import annotations

import numpy as np
import pytest

from model.errors import UserError
from model.observation import DeviceProfile, Observation, TargetKind, TaskView
from rl import policies
from rl.policies.estimate import DelayEstimator
from rl.policies.learned import Learned

KINDS: tuple[TargetKind, ...] = ("self", "device", "device", "edge", "edge")
PROFILE = DeviceProfile(
    name="c1d1",
    targets=("c1d1", "c1d2", "c1d3", "e1", "e2"),
    kinds=KINDS,
    own_edge=3,
    prices=(1.0, 1.0, 1.0, 2.0, 2.0),
    rates_mbps=(2.5, 5.0, 7.5, 10.0),
    min_rate_mbps=1.0,
    max_rate_mbps=10.0,
    alpha=1.0,
    beta=0.01,
    slot_s=1.0,
    max_ghz=8.0,
)


def observation(**changes: object) -> Observation:
    """A device that has just started: nothing seen, nothing under way."""
    size = len(KINDS)
    nothing, never, none = np.full(size, np.nan), np.full(size, np.inf), np.zeros(size)
    values: dict[str, object] = {
        "time_s": 3.0, "queue_ghz_s": 0.0, "ghz": 8.0,
        "inflight_tasks": none, "inflight_work_ghz_s": none, "inflight_data_mb": none,
        "rtt_s": nothing, "rtt_age_s": never, "idle_rtt_s": nothing,
        "delivery_s": nothing, "delivery_data_mb": nothing, "delivery_age_s": never,
        "processing_s": nothing, "processing_work_ghz_s": nothing, "processing_age_s": never,
        "results": none,
    }  # fmt: skip
    return Observation(**(values | changes))  # type: ignore[arg-type]


RULES = [n for n in policies.names() if not issubclass(policies.policy_class(n), Learned)]
DEVICE_POLICIES = [n for n in RULES if policies.policy_class(n).needs == "observation"]


@pytest.mark.parametrize("name", DEVICE_POLICIES)
@pytest.mark.parametrize("task", [TaskView(0.0, 0.0), TaskView(20.0, 0.0), TaskView(3.0, 6.0)])
def test_decisions_are_allowed_and_reproducible(name: str, task: TaskView) -> None:
    def decisions() -> list[tuple[int, float]]:
        policy = policies.create(name)
        policy.reset(PROFILE, np.random.default_rng(7))
        policy.begin_slot(observation())
        made = [policy.decide(observation(), task) for _ in range(20)]
        return [(d.target, d.rate_mbps) for d in made]

    made = decisions()
    assert made == decisions()
    assert all(0 <= target < len(KINDS) and 1.0 <= rate <= 10.0 for target, rate in made)


@pytest.mark.parametrize("name", DEVICE_POLICIES)
def test_decisions_leave_the_observation_alone(name: str) -> None:
    seen = observation(inflight_data_mb=np.ones(5), processing_s=np.full(5, 2.0))
    before = {
        k: np.copy(getattr(seen, k)) for k in Observation.__slots__ if getattr(seen, k) is not None
    }
    policy = policies.create(name)
    policy.reset(PROFILE, np.random.default_rng(0))
    policy.decide(seen, TaskView(30.0, 1.0))
    for key, value in before.items():
        np.testing.assert_array_equal(getattr(seen, key), value)


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("greedi", {}, "did you mean 'greedy'"),
        ("greedy", {"prise": 1}, "did you mean 'price'"),
        ("greedy", {"price": "maybe"}, "must be true or false"),
        ("self-biased", {"bias_s": "much"}, "must be a finite number"),
        ("nowhere.at_all:Thing", {}, "cannot import"),
        ("model.errors:Nothing", {}, "has no Nothing"),
        ("model.errors:UserError", {}, "is not a rl.policies.base.Policy"),
    ],
)
def test_mistakes_are_explained(name: str, params: dict[str, policies.Value], says: str) -> None:
    with pytest.raises(UserError, match=says):
        policies.create(name, params)


def test_own_policies_and_text_parameters() -> None:
    policy = policies.create("rl.policies.greedy:Greedy", {"price": "no", "memory_s": "3"})
    assert vars(policy) == {"price": False, "memory_s": 3.0}


def test_the_oracle_needs_the_truth() -> None:
    assert policies.policy_class("oracle").needs == "truth"
    assert policies.policy_class("ago").needs == "state"


def test_estimate_is_exact_at_home_and_where_status_is_observed() -> None:
    seen = observation(queue_ghz_s=16.0)
    assert DelayEstimator.of(PROFILE).processing_s(seen, 8.0)[0] == pytest.approx(3.0)
    known = observation(
        status_queue_ghz_s=np.array([0.0, 1.0, 2.0, 30.0, 60.0]),
        status_ghz=np.array([8.0, 1.0, 2.0, 30.0, 30.0]),
    )
    np.testing.assert_allclose(
        DelayEstimator.of(PROFILE).processing_s(known, 2.0), [0.25, 3.0, 2.0, 32 / 30, 62 / 30]
    )


def test_experienced_waits_fade() -> None:
    waits = []
    for age in (0.0, 10.0, 1e6):
        seen = observation(
            processing_s=np.full(5, 4.0),
            processing_work_ghz_s=np.full(5, 30.0),
            processing_age_s=np.full(5, age),
        )
        estimator = DelayEstimator.of(PROFILE, memory_s=10.0)
        waits.append(estimator.processing_s(seen, 0.0)[3])
    np.testing.assert_allclose(waits, [3.0, 3.0 * np.exp(-1.0), 0.0], atol=1e-12)


def test_greedy_slows_down_where_the_network_is_full() -> None:
    far = observation(
        ghz=0.1, rtt_s=np.full(5, 4.01), rtt_age_s=np.zeros(5), idle_rtt_s=np.full(5, 0.01)
    )
    priced, plain = policies.create("greedy"), policies.create("greedy", {"price": False})
    rates = []
    for policy in (priced, plain):
        policy.reset(PROFILE, np.random.default_rng(0))
        rates.append(policy.decide(far, TaskView(20.0, 1.0)).rate_mbps)
    # x = sqrt(α o / D) = 0.5 MB/s
    assert rates == pytest.approx([4.0, 10.0])


def test_ago_that_draws_the_node_keeps_what_is_cheaper_at_home() -> None:
    policy = policies.create("ago-random")
    policy.reset(PROFILE, np.random.default_rng(0))
    task = TaskView(work_ghz_s=6.0, data_mb=1.0)
    idle = observation(queue_ghz_s=0.0, ghz=8.0, inflight_data_mb=np.zeros(len(PROFILE.targets)))
    assert {policy.decide(idle, task).target for _ in range(20)} == {0}
    full = observation(queue_ghz_s=80.0, ghz=8.0, inflight_data_mb=np.zeros(len(PROFILE.targets)))
    chosen = [policy.decide(full, task).target for _ in range(400)]
    counts = np.bincount(chosen, minlength=len(PROFILE.targets))
    assert counts[0] == 0
    # Any other unit, each as likely.
    assert counts[1:].min() > 0.5 * 400 / (len(PROFILE.targets) - 1)
    # Data that wait to be sent keep a task at home again.
    waiting = np.full(len(PROFILE.targets), 100.0)
    jammed = observation(queue_ghz_s=80.0, ghz=8.0, inflight_data_mb=waiting)
    assert policy.decide(jammed, task).target == 0
