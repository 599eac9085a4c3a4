"""Scenarios that are large in some way: compiled code keeps its bounds and equals the reference.

``LAB_RANDOM_WORLDS`` says how many random scenarios are played; docs/simulator.md has the command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.errors import ScenarioError
from model.probing import pinged
from model.scenario import LinkFailure, ProbeSpec, WorkloadSpec
from model.scenario.load import load_scenario
from rl.simulator import _cache_folder, kernel, limits
from rl.simulator.batch import Batch
from rl.simulator.decision_loop import Turns
from rl.simulator.layout import Layout
from tests.rl.agreement import agree
from tests.rl.random_worlds import KINDS, random_world
from tests.rl.worlds import run, small

ASKED = int(os.environ.get("LAB_RANDOM_WORLDS", "0"))
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_random_worlds_equal_the_reference(kind: int) -> None:
    for number in range(kind, kind + len(KINDS) * 2, len(KINDS)):
        world = random_world(number)
        agree(world.scenario, [number], world.piece_mb, world.tolerance)


@pytest.mark.slow(60)
@pytest.mark.timeout(12 * 3600 if ASKED else 600)
def test_compiled_code_keeps_its_bounds() -> None:
    """Each kernel, with numba's checks; functions with checks are kept apart from the others."""
    cache, note = _cache_folder()
    assert cache is not None, note
    folder = cache.parent / "bounds-checked-1"
    # Checks do not depend on how much is optimised, which is what most of the time would go to.
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "1", "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-m", "tests.rl.bounds_checked", "0", str(ASKED or len(KINDS))]
    done = subprocess.run(
        command, env=os.environ | checked, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "an index out of bounds is noticed" in done.stdout


def test_many_failures_of_one_cable_share_the_tables_of_paths() -> None:
    """More epochs than 8 bits hold: a device that is cut off now and then, for as long as it is."""
    fails = tuple(LinkFailure(at_s=2.0 * k, link="c1d1-bs1", down_s=0.5) for k in range(1, 141))
    scenario = small(slots=300, workload=WorkloadSpec(tasks_per_epoch=1, work_ghz_s=4, data_mb=1))
    events = scenario.events.model_copy(update={"failures": fails})
    batch = agree(scenario.model_copy(update={"events": events}), [1], tolerance=1e-8)
    assert len(batch.layout.paths.start_s) == 281
    assert len(batch.layout.paths.there) == 2


def test_a_line_longer_than_5_bits() -> None:
    world = random_world(1)
    assert agree(world.scenario, [3], tolerance=1e-8).layout.paths.there.shape[2] > 32


@pytest.mark.parametrize("most", ["kind", "epoch", "hop", "part"])
def test_the_fields_of_a_code_do_not_touch(most: str) -> None:
    """The largest value of a field stays below the next one of the field to its left."""
    width = {"kind": kernel.PONG + 1, "epoch": limits.MOST_EPOCHS, "hop": limits.MOST_HOPS,
             "part": limits.MOST_PARTS}  # fmt: skip
    names = list(width)
    last = {
        name: width[name] - 1 if names.index(name) >= names.index(most) else 0 for name in names
    }
    code = kernel.code_of.py_func(*last.values())
    assert 0 <= code < 2**63
    if most != "kind":
        above = names[names.index(most) - 1]
        following = {name: int(name == above) for name in names}
        assert code + 1 == kernel.code_of.py_func(*following.values())


def test_limits_hold_at_their_edge() -> None:
    limits.require_epochs(limits.MOST_EPOCHS)
    limits.require_paths(1, 10, limits.MOST_HOPS)
    limits.require_paths(1, limits.MOST_PATH_ENTRIES, 1)
    limits.require_steps("changes", "events", limits.MOST_STEPS, 1)
    limits.require_parts(limits.MOST_PARTS - 3, 1.0, 1.0, limits.MOST_REFERENCES)
    for call in (
        lambda: limits.require_epochs(limits.MOST_EPOCHS + 1),
        lambda: limits.require_paths(1, 10, limits.MOST_HOPS + 1),
        lambda: limits.require_paths(1, limits.MOST_PATH_ENTRIES + 1, 1),
        lambda: limits.require_steps("changes", "events", limits.MOST_STEPS + 1, 1),
        lambda: limits.require_parts(limits.MOST_PARTS, 1.0, 1.0, 1),
        lambda: limits.require_parts(1.0, 1.0, 1.0, limits.MOST_REFERENCES + 1),
    ):
        with pytest.raises(ScenarioError, match="simulator takes") as refused:
            call()
        assert "\n" not in str(refused.value)


def test_what_is_too_large_is_refused_before_it_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MOST_PATH_ENTRIES", 40)
    with pytest.raises(ScenarioError, match="at most 40"):
        Batch(small(), [0])


@pytest.mark.parametrize("piece_mb", [0.0, -1.0, np.nan, np.inf])
def test_parts_have_a_size(piece_mb: float) -> None:
    with pytest.raises(ValueError, match="piece_mb"):
        Batch(small(), [0], piece_mb=piece_mb)


@pytest.mark.parametrize(
    ("target", "rate"), [(-1, 5.0), (99, 5.0), (1, 0.0), (1, -2.0), (1, np.nan), (1, np.inf)]
)
def test_decisions_that_do_not_exist_reach_no_array(target: int, rate: float) -> None:
    names = r"c\dd\d: .*(its targets are 0 to|must be above 0)"
    batch = Batch(small(), [0])
    batch.targets[:], batch.rates[:] = target, rate
    with pytest.raises(ValueError, match=names):
        run(batch)
    game = Turns(Batch(small(), [0]))
    while (turn := game.next()) is None:
        pass
    count = len(turn.task)
    with pytest.raises(ValueError, match=names):
        game.decide(turn, np.full(count, target), np.full(count, rate))
    with pytest.raises(ValueError, match="decisions are due"):
        game.decide(turn, np.zeros(count + 1, dtype=np.int64), np.ones(count + 1))
    with pytest.raises(ValueError, match=names):
        game.batch.dispatch(0, int(turn.task[0]), target, rate)
    with pytest.raises(ValueError, match="next one to be decided"):
        game.batch.dispatch(0, 10**6, 1, 5.0)


def test_pings_are_those_of_the_model_whatever_the_sizes_of_cells() -> None:
    """Cells whose least common multiple has more than 63 bits have no table of pings."""
    scenario = load_scenario("mini", {"slots": 40}).model_copy(
        update={"probes": ProbeSpec(edge_every_slots=5, peers_per_slot=2)}
    )
    for base in (scenario, small(devices=5), random_world(3).scenario):
        batch = Batch(base, [0])
        for slot in range(30):
            expected = np.zeros(batch.layout.target_unit.shape, dtype=bool)
            for d, profile in enumerate(batch.layout.profiles):
                expected[d, list(pinged(profile, base.probes, slot))] = True
            np.testing.assert_array_equal(batch.layout.pinged(slot), expected)
            if slot < base.slots and not base.events.failures:
                np.testing.assert_array_equal(np.isfinite(batch.moving.ping_rtt[0]), expected)
                batch.step()


def test_a_layout_needs_no_memory_for_the_period_of_pings() -> None:
    scenario = load_scenario("mini", {"slots": 10})
    probes = scenario.probes.model_copy(update={"edge_every_slots": 1_000_000})
    long = scenario.model_copy(update={"probes": probes, "slots": 1_000_000})
    assert Layout(long, Batch(scenario, [0]).network).ping_plan.nbytes < 1000
