"""Physics of the simulator: closed forms, conservation, Lindley, Little, and what tables say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.clips import catalogue_of
from model.compute import frequency_trace
from model.errors import UserError
from model.observation import Decision, Observation, TaskView
from model.packet_sizes import WIRE_OVERHEAD
from model.scenario import CloudSpec, EventsSpec, LinkFailure, Scenario, WorkloadSpec
from model.scenario.load import load_scenario
from records.schema import TABLES
from rl import policies
from rl.policies.base import Policy
from rl.policies.learned import Learned
from rl.simulator import state_arrays as ix
from rl.simulator.batch import PIECE_MB, Batch
from rl.simulator.run import run_simulation, simulate
from tests.rl.worlds import decide_own_edge, decide_randomly, run, small

LIGHT = WorkloadSpec(tasks_per_epoch=0.4, work_ghz_s=4, data_mb=1, epoch_gap_s=(40.0, 60.0))


def test_an_empty_network_has_the_closed_form() -> None:
    """E = o·κ·8/x + s/F + the result's way, for a task that meets nobody."""
    batch = Batch(
        small(slots=200, devices=1, workload=LIGHT), [5], wire_overhead=1.1, closed_form=True
    )
    decide_own_edge(batch, 4.0)
    task = run(batch).moving.task[0, : len(batch.traces[0])]
    assert len(task) >= 2
    result_s = 256 * 8 * (1 / 30e6 + 1 / 10e6)
    expected = task[:, ix.DATA] * 1.1 * 8 / 4.0 + task[:, ix.WORK] / 30.0 + result_s
    np.testing.assert_allclose(task[:, ix.KNOWN] - task[:, ix.BORN], expected, atol=1e-9)
    np.testing.assert_allclose(task[:, ix.CLOSED_FORM], expected - result_s, atol=1e-9)


@pytest.mark.parametrize("link_mbps", [20, 50])
def test_a_clips_result_takes_its_time_home(link_mbps: float) -> None:
    """Beyond a message it is sent at full rate, or as fast as the slowest link on its way."""
    quiet = {"workload.tasks_per_epoch": 0.2, "workload.epoch_gap_s": "[80, 100]", "slots": 400}
    scenario = load_scenario("livecast", {**quiet, "network.e2d.rate_mbps": link_mbps})
    batch = Batch(scenario, [1], wire_overhead=1.0)
    decide_own_edge(batch)
    task, trace = run(batch).moving.task[0, : len(batch.traces[0])], batch.traces[0]
    assert len(task) >= 4
    weight = np.array([catalogue_of(scenario)[k].result_bytes for k in trace.clip])
    message = 256 * 8 * (1 / 100e6 + 1 / (1e6 * link_mbps))
    full_mbps = scenario.decision.max_rate_mbps
    expected = weight * WIRE_OVERHEAD * 8 / (1e6 * min(link_mbps, full_mbps)) + message
    np.testing.assert_allclose(task[:, ix.KNOWN] - task[:, ix.END], expected, atol=1e-6)
    assert expected.min() > 10 * message


def test_two_flows_share_a_link() -> None:
    """Two flows of 10 Mbps that begin together on 10 Mbps both end when all bytes are through."""
    work = WorkloadSpec(
        tasks_per_epoch=2, work_ghz_s=1, data_mb=4, epoch_gap_s=(60, 60), arrival="burst"
    )
    batch = Batch(small(slots=61, devices=1, workload=work), [4], piece_mb=0.01, wire_overhead=1.0)
    decide_own_edge(batch)
    run(batch)
    task = batch.moving.task[0, : len(batch.traces[0])]
    shared_links = 0
    for device in (0, 1):
        mine = task[batch.moving.task_ref[0, : len(task), ix.DEVICE] == device]
        if len(mine) != 2 or mine[:, ix.DATA].min() == 0:
            continue
        shared_links += 1
        last = np.nanmax(mine[:, ix.ARRIVED]) - mine[0, ix.BORN]
        assert last == pytest.approx(mine[:, ix.DATA].sum() * 0.8, abs=0.02)
        # The shorter one has had to share until its end.
        shorter = mine[mine[:, ix.DATA].argmin()]
        shared = 2 * shorter[ix.DATA] * 0.8
        assert shorter[ix.ARRIVED] - shorter[ix.BORN] == pytest.approx(shared, abs=0.05)
    assert shared_links


def test_neighbours_at_one_radio_use_it_up_and_down() -> None:
    network = {"wireless_scope": "cluster"}
    batch = Batch(small(slots=300, network=network, workload=LIGHT), [6])
    t = batch.layout.profiles[0].targets.index("c1d2")
    batch.targets[:] = t
    run(batch)
    # Every device has one peer, which here is its target 1: all data pass both directions.
    links = [k.name for k in batch.network.shaped_links]
    entered = dict(zip(links, batch.moving.link_in[0], strict=True))
    assert entered["c1>bs1"] > 1.0
    assert entered["bs1>c1"] == pytest.approx(entered["c1>bs1"])
    assert entered["bs1>e1"] == 0.0


def test_finer_parts_converge() -> None:
    work = WorkloadSpec(tasks_per_epoch=6, work_ghz_s=6, data_mb=1)
    delays = []
    for piece_mb in (0.25, PIECE_MB, 0.03125, 0.005):
        batch = Batch(Scenario(name="case2", slots=60, workload=work), [1, 2], piece_mb=piece_mb)
        decide_randomly(batch)
        delays.append(float(run(batch).unit_delay(60.0).mean()))
    errors = np.abs(np.array(delays[:-1]) / delays[-1] - 1.0)
    assert (errors < 0.003).all(), (errors, delays)


def test_units_keep_lindley_s_recursion() -> None:
    """W_{n+1} = [W_n + S_n - T_n]⁺ at every edge, on realised arrivals."""
    batch = Batch(small(slots=100), [2])
    decide_randomly(batch)
    task, ref = run(batch).moving.task[0], batch.moving.task_ref[0]
    checked = 0
    for edge in (u.name for u in batch.network.of_kind("edge")):
        served = task[ref[:, ix.UNIT] == batch.layout.unit_index[edge]]
        served = served[np.isfinite(served[:, ix.START])]
        served = served[np.lexsort((served[:, ix.START], served[:, ix.ARRIVED]))]
        for now, then in pairwise(served):
            wait = now[ix.START] - now[ix.ARRIVED]
            gap = then[ix.ARRIVED] - now[ix.ARRIVED]
            expected = max(0.0, wait + now[ix.WORK] / 30.0 - gap)
            assert then[ix.START] - then[ix.ARRIVED] == pytest.approx(expected, abs=1e-9)
            checked += 1
    assert checked > 20


def test_bytes_and_work_are_conserved() -> None:
    """What was born is served or still there, and every byte crosses every link of its path."""
    batch = Batch(small(slots=60), [1])
    decide_randomly(batch)
    run(batch)
    batch.advance(0, 1e6)
    task, ref = batch.moving.task[0, : len(batch.traces[0])], batch.moving.task_ref[0]
    batch_links = np.zeros(len(batch.network.shaped_links))
    for k in range(len(task)):
        path = batch.fixed.there[0, ref[k, ix.PAIR]]
        batch_links[path[path >= 0]] += task[k, ix.DATA] * 1514 / 1448
    decided = ref[: len(task), ix.UNIT] >= 0
    assert decided.all()
    assert np.isfinite(task[:, ix.KNOWN]).all()
    np.testing.assert_allclose(batch.moving.link_in[0], batch_links, atol=1e-9)
    assert batch.moving.seen[0][..., (ix.COUNT, ix.WAITING_WORK, ix.WAITING_DATA)] == pytest.approx(
        0, abs=1e-9
    )
    assert batch.moving.incoming[0] == pytest.approx(0, abs=1e-9)


def test_queues_are_what_arrived_minus_what_was_served() -> None:
    """Eq. (4) integrated: Q_u at the end of every slot, from the tasks' own times."""
    scenario, seed = small(slots=40), 3
    tables = run_simulation(scenario, "random", seed=seed)
    tasks, units = tables["tasks"].to_pylist(), tables["units"].to_pylist()
    batch = Batch(scenario, [seed])
    traces = {u.name: frequency_trace(scenario, seed, u) for u in batch.network.units}
    for row in units[:: len(traces) + 1]:
        now, queue = row["time_s"], 0.0
        for task in tasks:
            if task["target"] != row["unit"] or task["arrived_s"] is None:
                continue
            if task["arrived_s"] <= now and not (task["service_end_s"] or 1e9) <= now:
                start = task["service_start_s"] or 1e9
                queue += task["work_ghz_s"]
                queue -= traces[row["unit"]].served(start, now) if start < now else 0.0
        assert row["queue_ghz_s"] == pytest.approx(queue, abs=1e-6)


def test_little_s_law_holds_along_the_path() -> None:
    """∫ N dt = Σ (time in system), N counted from the tables slot by slot."""
    tables = run_simulation(small(slots=400), "own-edge", seed=1)
    tasks = tables["tasks"].to_pylist()
    end = 400.0
    spent = sum(min(t["known_s"] or end, end) - t["born_s"] for t in tasks)
    grid = np.arange(0.05, end, 0.1)
    born = np.array([t["born_s"] for t in tasks])
    gone = np.array([t["known_s"] or np.inf for t in tasks])
    inside = ((born[None] <= grid[:, None]) & (gone[None] > grid[:, None])).sum()
    assert inside * 0.1 == pytest.approx(spent, rel=0.02)


def test_pings_show_equation_14() -> None:
    """RTT minus the idle RTT is Σ V_l / c_l over both ways, up to the FIFO's byte limit."""
    batch = Batch(small(slots=30), [1])
    decide_own_edge(batch)
    seen = 0
    for _ in range(30):
        batch.step()
        wait = np.minimum(
            np.maximum(batch.moving.link_until[0] - batch.now_s, 0.0),
            batch.fixed.buffer / batch.fixed.cap[0, :, 0],
        )
        for d, t in zip(*np.nonzero(np.isfinite(batch.moving.ping_rtt[0])), strict=True):
            pair = d * batch.layout.targets + t
            ways = np.concatenate([batch.fixed.there[0, pair], batch.fixed.back[0, pair]])
            excess = batch.moving.ping_rtt[0, d, t] - batch.fixed.idle_rtt[0, pair]
            assert excess == pytest.approx(wait[ways[ways >= 0]].sum(), abs=1e-12)
            seen += excess > 0.01
    assert seen > 10


def test_environments_of_a_batch_do_not_touch_each_other() -> None:
    scenario = small(slots=30)
    together = Batch(scenario, [1, 2, 3])
    decide_randomly(together)
    run(together)
    for e, seed in enumerate((1, 2, 3)):
        alone = Batch(scenario, [seed])
        count = alone.targets.shape[1]
        alone.targets[0], alone.rates[0] = together.targets[e, :count], together.rates[e, :count]
        run(alone)
        np.testing.assert_array_equal(alone.moving.task[0], together.moving.task[e, :count])


def test_heaps_grow() -> None:
    work = WorkloadSpec(tasks_per_epoch=30, work_ghz_s=4, data_mb=3)
    batch = Batch(small(slots=60, workload=work), [1], piece_mb=0.02)
    room = batch.moving.heap_time.shape[1]
    decide_own_edge(batch)
    run(batch)
    assert batch.moving.heap_time.shape[1] > room


@pytest.mark.parametrize(
    "name", [n for n in policies.names() if not issubclass(policies.policy_class(n), Learned)]
)
def test_every_policy_runs_and_fills_the_tables(name: str) -> None:
    tables = run_simulation(small(slots=25), name, seed=1)
    # Looks within a slot and counters of ports are of real switches, resources of real nodes.
    assert set(tables) == set(TABLES) - {"queues", "ports", "events", "resources", "transcodes"}
    for table, content in tables.items():
        assert content.schema == TABLES[table]
        assert content.num_rows > 0
    outcomes = set(tables["tasks"]["outcome"].to_pylist())
    assert outcomes <= {"done", "unfinished"}
    counted = tables["slots"].to_pylist()[-1]
    assert counted["born"] == tables["tasks"].num_rows
    assert counted["done"] == tables["tasks"]["outcome"].to_pylist().count("done")


def test_runs_are_reproducible_and_depend_on_the_seed() -> None:
    first, again, other = (run_simulation(small(), "random", seed=s)["tasks"] for s in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_failed_cable_loses_no_task() -> None:
    """Flows under way go on over the new path; with no path they wait."""
    events = EventsSpec(
        failures=(
            LinkFailure(at_s=5.0, link="bs1-bs2", down_s=6.0),
            LinkFailure(at_s=8.0, link="c1d1-bs1", down_s=3.0),
        )
    )
    stations = ("bs1", "bs2", "bs3")
    base = small(slots=30)
    network = base.network.model_copy(
        update={
            "base_stations": tuple(
                base.network.base_stations[0].model_copy(update={"name": n, "edge": f"e{k}"})
                for k, n in enumerate(stations, 1)
            )
        }
    )
    scenario = base.model_copy(update={"network": network, "events": events})
    batch = Batch(scenario, [1])
    decide_randomly(batch)
    names = [k.name for k in batch.network.shaped_links]
    for slot in range(30):
        before = batch.moving.link_in[0].copy()
        batch.step()
        carried = dict(zip(names, batch.moving.link_in[0] - before, strict=True))
        if 6 <= slot < 10:
            assert carried["bs1>bs2"] == 0.0
    assert batch.layout.paths.start_s.tolist() == [0.0, 5.0, 8.0, 11.0]
    batch.advance(0, 1e6)
    known = batch.moving.task[0, : len(batch.traces[0]), ix.KNOWN]
    assert np.isfinite(known).all()


def test_without_any_path_a_task_fails_when_patience_ends() -> None:
    events = EventsSpec(failures=(LinkFailure(at_s=0.0, link="e1-bs1", down_s=1000.0),))
    scenario = small(slots=30, devices=1, events=events)
    transfer = scenario.transfer.model_copy(update={"stall_timeout_s": 2.0, "attempts": 2})
    scenario = scenario.model_copy(update={"transfer": transfer})
    tasks = run_simulation(scenario, "own-edge", seed=1)["tasks"].to_pylist()
    lost = [t for t in tasks if t["target"] == "e1" and t["born_s"] < 25.0]
    assert lost
    assert all(t["outcome"] == "failed" and "no path" in t["reason"] for t in lost)


def test_paper_accounting_understates_bursts() -> None:
    work = WorkloadSpec(tasks_per_epoch=12, work_ghz_s=3, data_mb=0.5, arrival="burst")
    scenario = Scenario(name="burst", slots=60, workload=work)
    runs = (
        simulate(scenario, lambda: policies.create("greedy"), 1),
        simulate(scenario, lambda: policies.create("greedy"), 1, accounting="paper"),
    )
    realised, paper = (run.unit_delay for run in runs)
    assert paper < realised


class Curious(Policy):
    """Notes what it is shown; everything goes to the own edge."""

    notes: list[Observation]

    def __init__(self) -> None:
        self.notes = []

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        self.notes.append(observation)
        return Decision(self.profile.own_edge, 10.0)


def test_observations_tell_the_own_tasks_story() -> None:
    made: list[Curious] = []

    def factory() -> Curious:
        made.append(Curious())
        return made[-1]

    tasks = simulate(small(slots=40), factory, 1).tables["tasks"].to_pylist()
    edge = made[0].profile.own_edge
    mine = [t for t in tasks if t["device"] == made[0].profile.name]
    for seen in made[0].notes:
        now = seen.time_s
        earlier = [t for t in mine if t["born_s"] < now]
        home = [t for t in earlier if (t["known_s"] or 1e9) <= now]
        assert seen.inflight_tasks[edge] == len(earlier) - len(home)
        assert seen.results[edge] == len(home)
        if home:
            latest = max(home, key=lambda t: t["known_s"])
            took = latest["service_end_s"] - latest["arrived_s"]
            assert seen.processing_s[edge] == pytest.approx(took)
            assert seen.processing_age_s[edge] == pytest.approx(now - latest["known_s"])
        assert seen.rtt_s[0] == 0.0
        assert seen.status_ghz is None


def test_impossible_decisions_are_refused() -> None:
    class Wild(Policy):
        def decide(self, observation: Observation, task: TaskView) -> Decision:
            return Decision(99, 10.0)

    with pytest.raises(UserError, match="target 99"):
        simulate(small(), Wild, 1)


SCENARIOS = sorted(p.stem for p in (Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_of_the_lab_runs(name: str) -> None:
    tables = run_simulation(load_scenario(name), "self-biased", seed=1, slots=8)
    assert tables["tasks"].num_rows > 0
    assert tables["links"].num_rows == 8 * len(set(tables["links"]["link"].to_pylist()))


def test_an_overflowing_edge_passes_tasks_on_to_the_cloud() -> None:
    work = WorkloadSpec(tasks_per_epoch=20, work_ghz_s=40, data_mb=0.2)
    cloud = CloudSpec(mode="overflow", overflow_queue_s=2.0)
    scenario = small(slots=60, workload=work, cloud=cloud)
    tables = run_simulation(scenario, "own-edge", seed=1)
    units = tables["units"].to_pylist()
    assert max(row["queue_ghz_s"] for row in units if row["kind"] == "cloud") > 0.0
    longest = max(row["load_s"] for row in units if row["kind"] == "edge")
    # The threshold, and one task on top of it.
    assert 2.0 < longest < 2.0 + 80 / 30
