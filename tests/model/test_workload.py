"""The task trace against the distributions that the paper states, and against itself."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import stats

from model.network import build_network
from model.scenario import Scenario
from model.scenario.load import load_scenario
from model.workload import TaskTrace, generate_trace

ALPHA = 1e-4
"""Seeds are fixed, so a test passes always or never; a sound trace fails one in 10 000 seeds."""

DIGESTS = {
    "case1": "e18398cb4e230927e554bd2abf5f71d3c9bcce59c3ad006dccea749fd71bf3cf",
    "case2": "9186454caeae5a1694ed5857bcb148db4b943cfc5eab90a0f4aa3827d157f89e",
    "case3": "2a5b38c27a261deed75dbbb8d17ef3f1a74be091b1754344d3993f92ed78718c",
}


def digest(trace: TaskTrace) -> str:
    columns = (trace.device, trace.born_s, trace.work_ghz_s, trace.data_mb)
    return hashlib.sha256(b"".join(c.tobytes() for c in columns)).hexdigest()


def long(name: str, **overrides: object) -> Scenario:
    return load_scenario(name, {"slots": 20_000, **overrides})


def tasks_of(trace: TaskTrace, scenario: Scenario, device: str) -> list[tuple[float, ...]]:
    index = [d.name for d in build_network(scenario).devices].index(device)
    ids = trace.of_device(index)
    columns = (trace.born_s[ids], trace.work_ghz_s[ids], trace.data_mb[ids])
    return [tuple(float(v) for v in row) for row in np.column_stack(columns)]


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_trace_is_byte_identical_on_every_machine(name: str) -> None:
    assert digest(generate_trace(load_scenario(name), 1)) == DIGESTS[name]


@pytest.mark.parametrize("name", ["case1", "case2", "case3"])
def test_sizes_are_poisson(name: str) -> None:
    scenario = long(name)
    trace = generate_trace(scenario, 7)
    for values, mean in (
        (trace.work_ghz_s, scenario.workload.work_ghz_s),
        (trace.data_mb, scenario.workload.data_mb),
    ):
        # Pool the tails, so that every class has enough counts for the chi-square.
        low, high = (int(stats.poisson.ppf(q, mean)) for q in (0.005, 0.995))
        observed = np.bincount(np.clip(values, low, high).astype(int) - low)
        inner = stats.poisson.pmf(np.arange(low + 1, high), mean)
        expected = np.array(
            [stats.poisson.cdf(low, mean), *inner, stats.poisson.sf(high - 1, mean)]
        )
        assert stats.chisquare(observed, expected * len(values)).pvalue > ALPHA
        assert values.mean() == pytest.approx(mean, rel=0.02)
        assert values.var() == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize(("name", "share"), [("case1", 0.0025), ("case2", 0.37), ("case3", 0.61)])
def test_share_of_tasks_without_data(name: str, share: float) -> None:
    data = generate_trace(long(name), 3).data_mb
    assert (data == 0).mean() == pytest.approx(share, abs=0.005 if share > 0.01 else 0.0005)


def test_epochs_are_uniform_and_their_tasks_poisson() -> None:
    # In bursts the tasks of an epoch share their time of birth; with λ1 = 12 hardly any is empty.
    scenario = long("case3-burst")
    trace = generate_trace(scenario, 5)
    gaps, counts = [], []
    for index in range(len(build_network(scenario).devices)):
        epochs, sizes = np.unique(trace.born_s[trace.of_device(index)], return_counts=True)
        gaps.append(np.diff(epochs))
        counts.append(sizes)
    gap, count = np.concatenate(gaps), np.concatenate(counts)
    assert gap.min() >= 5
    # An empty epoch (e^-12) joins two gaps: leave those few out.
    assert (gap > 20).mean() < 1e-4
    assert stats.kstest(gap[gap <= 20], stats.uniform(5, 15).cdf).pvalue > ALPHA
    assert count.mean() == pytest.approx(12, rel=0.01)
    assert count.var() == pytest.approx(12, rel=0.04)


def test_rate_of_tasks() -> None:
    scenario = long("case2")
    per_device = len(generate_trace(scenario, 2)) / len(build_network(scenario).devices)
    assert per_device == pytest.approx(6 * scenario.duration_s / 12.5, rel=0.01)


def test_spread_and_burst_differ_in_times_only() -> None:
    spread = generate_trace(load_scenario("case3"), 4)
    burst = generate_trace(load_scenario("case3-burst"), 4)
    apart = [np.diff(t.born_s[t.of_device(0)]) for t in (spread, burst)]
    assert (apart[0] > 0).all()
    assert (apart[1] == 0).mean() > 0.8


def test_births_are_ordered_within_the_run() -> None:
    scenario = load_scenario("case3")
    trace = generate_trace(scenario, 1)
    assert (np.diff(trace.born_s) >= 0).all()
    assert trace.born_s[0] >= 0
    assert trace.born_s[-1] < scenario.duration_s


def test_more_devices_or_slots_leave_others_alone() -> None:
    scenario = load_scenario("mini")
    more = load_scenario("mini", {"network.clusters.0.devices": 5})
    longer = load_scenario("mini", {"slots": 90})
    trace = generate_trace(scenario, 1)
    for device in ("c1d2", "c2d1"):
        tasks = tasks_of(trace, scenario, device)
        assert tasks_of(generate_trace(more, 1), more, device) == tasks
        assert tasks_of(generate_trace(longer, 1), longer, device)[: len(tasks)] == tasks


def test_devices_are_independent_of_each_other_and_seeds_differ() -> None:
    scenario = long("mini")
    trace = generate_trace(scenario, 1)
    counts = np.array(
        [np.histogram(trace.born_s[trace.of_device(k)], 400, (0, 20_000))[0] for k in range(4)]
    )
    off_diagonal = np.corrcoef(counts)[np.triu_indices(4, 1)]
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(400)
    assert digest(generate_trace(scenario, 2)) != digest(trace)
