"""The environment over a real network: the contract of the simulator's, and what is its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]

from emulation import env as environment
from emulation.env import EmulationEnv, LateStep
from experiments.chaos import snapshot
from metrics.summary import delays_s
from model.errors import UserError
from model.scenario.load import load_scenario
from records.reader import Result, open_result
from rl.environment.encoding import COLUMNS
from rl.environment.simulated import CrowdEdge

pytestmark = [pytest.mark.ovs, pytest.mark.slow, pytest.mark.timeout(120)]
PROJECT = Path(__file__).resolve().parent.parent.parent
SLOTS, SPEEDUP, SEED = 12, 2.0, 3


def make(out: Path, slots: int = SLOTS, **options: Any) -> EmulationEnv:
    return EmulationEnv(
        load_scenario("mini", {"slots": slots}), speedup=SPEEDUP, out=out, **options
    )


def sampled(env: EmulationEnv, seen: dict[str, Any]) -> dict[str, Any]:
    return {a: env.action_space(a).sample(mask=seen[a]["action_mask"]) for a in env.agents}


@dataclass(frozen=True)
class Episode:
    """All that an episode gave out, and its result."""

    env: EmulationEnv
    result: Result
    seen: list[dict[str, Any]]
    chosen: list[dict[str, Any]]
    rewards: list[dict[str, float]]
    infos: list[dict[str, Any]]
    states: list[Any]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return sorted(self.result.table("tasks").to_pylist(), key=lambda t: int(t["task"]))


def play(env: EmulationEnv, late_by_real_s: float = 0.0) -> Episode:
    """An episode of sampled actions, once late: in the first slot in which there are tasks."""
    seen, infos = env.reset(seed=SEED)
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(number)
    story: list[list[Any]] = [[seen], [], [], [infos], [env.state()]]
    while env.agents:
        actions = sampled(env, seen)
        if late_by_real_s and any(s["tasks"][0, 0] for s in seen.values()):
            time.sleep(late_by_real_s)
            late_by_real_s = 0.0
        seen, rewards, _, _, infos = env.step(actions)
        for told, new in zip(story, (seen, actions, rewards, infos, env.state()), strict=True):
            told.append(new)
    assert env.folder is not None
    return Episode(env, open_result(env.folder), *story)


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Episode]:
    before = snapshot.take()
    with make(tmp_path_factory.mktemp("results")) as env:
        yield play(env)
    assert not before.changes(snapshot.take())


def test_spaces_and_layout_are_those_of_the_simulator(episode: Episode) -> None:
    env, simulated = episode.env, CrowdEdge(episode.env.scenario)
    first, _ = simulated.reset(seed=SEED)
    assert env.possible_agents == simulated.possible_agents
    assert env.observation_spaces == simulated.observation_spaces
    assert env.action_spaces == simulated.action_spaces
    assert len(episode.seen) == SLOTS + 1
    for seen in episode.seen:
        for agent in env.possible_agents:
            assert env.observation_space(agent).contains(seen[agent])
    # The trace is the same, so are its tasks, wherever the actions led.
    while simulated.agents:
        slot = simulated.slot
        for agent in env.possible_agents:
            np.testing.assert_array_equal(episode.seen[slot][agent]["tasks"], first[agent]["tasks"])
        first, *_ = simulated.step(episode.chosen[slot])


def test_rewards_sum_to_the_costs_in_the_result_folder(episode: Episode) -> None:
    scenario = episode.env.scenario
    profiles = {p.name: p for p in episode.env.profiles}
    delays = delays_s(episode.result.table("tasks").sort_by("task"), scenario.duration_s)
    costs = dict.fromkeys(profiles, 0.0)
    for task, delay_s in zip(episode.tasks, delays, strict=True):
        profile = profiles[task["device"]]
        price = profile.prices[profile.targets.index(task["target"])]
        costs[task["device"]] += delay_s + profile.beta * price * task["work_ghz_s"]
    assert sum(costs.values()) > 5.0
    for agent, cost in costs.items():
        assert sum(r[agent] for r in episode.rewards) == pytest.approx(-cost, abs=1e-6)


def test_decisions_are_carried_out(episode: Episode) -> None:
    env = episode.env
    profiles = {p.name: p for p in env.profiles}
    places: dict[tuple[int, str], int] = {}
    elsewhere = 0
    for task in episode.tasks:
        slot, device = int(task["born_s"] // env.scenario.slot_s), str(task["device"])
        place = min(places.get((slot, device), 0), env.max_tasks - 1)
        places[slot, device] = place + 1
        target, rate = episode.chosen[slot][device][2 * place : 2 * place + 2]
        assert task["target"] == profiles[device].targets[target]
        assert task["rate_mbps"] == pytest.approx(env.scenario.decision.rates_mbps[rate])
        elsewhere += task["target"] != device
    assert elsewhere > 5
    assert env.late_steps == 0
    assert episode.result.manifest["late_steps"] == 0
    counters = episode.result.manifest["nodes"]
    assert sum(counters[a]["undecided"] for a in env.possible_agents) == 0


def test_observations_are_the_devices_own(episode: Episode) -> None:
    """What an agent is shown is what the records say that its device measured."""
    last = episode.seen[-1]
    idle, rtt, delivery = (COLUMNS.index(c) for c in ("idle_rtt_s", "rtt_s", "delivery_s"))
    probes = episode.result.table("probes").to_pylist()
    heard = 0
    for profile in episode.env.profiles:
        rows = last[profile.name]["targets"][: len(profile.targets)]
        assert (rows[1:, idle] > 0.0).all()
        for name, row in zip(profile.targets[1:], rows[1:], strict=True):
            mine = [
                p["rtt_s"] for p in probes if (p["device"], p["target"]) == (profile.name, name)
            ]
            assert row[rtt] == -1.0 or any(abs(row[rtt] - m) < 1e-5 for m in mine if m is not None)
            sent = [t for t in episode.tasks if (t["device"], t["target"]) == (profile.name, name)]
            took = [t["arrived_s"] - t["dispatched_s"] for t in sent if t["arrived_s"] is not None]
            assert row[delivery] == -1.0 or any(abs(row[delivery] - d) < 1e-5 for d in took)
            heard += row[delivery] >= 0.0
    assert heard > 2


def test_the_state_is_what_the_operator_recorded(episode: Episode) -> None:
    env, network = episode.env, episode.env._layout.network
    assert all(env.state_space.contains(state) for state in episode.states)
    assert {*episode.infos[3]["c1d1"]} == {"critic", "late"}
    links = [k.name for k in network.shaped_links]
    units = [u.name for u in network.units]
    for table, names, column, scale, offset in (
        ("links", links, "backlog_bytes", 1e-6, 0),
        ("links", links, "rate_mbps", 1 / 8, len(links)),
        ("units", units, "queue_ghz_s", 1.0, 2 * len(links)),
        ("units", units, "ghz", 1.0, 2 * len(links) + len(units)),
    ):
        for row in episode.result.table(table).to_pylist():
            state = episode.states[row["slot"] + 1]
            where = offset + names.index(row["link" if table == "links" else "unit"])
            assert state[where] == pytest.approx(row[column] * scale, rel=1e-5, abs=1e-6)


def test_a_late_step_is_noticed_and_its_tasks_stay_at_home(tmp_path: Path) -> None:
    words = "came more than 0.25 slots after"
    with make(tmp_path) as env, pytest.warns(LateStep, match=words) as warned:
        episode = play(env, late_by_real_s=2.5 / SPEEDUP)
    assert {w.filename for w in warned} == {__file__}, "the warning names the caller's line"
    late = [slot for slot, infos in enumerate(episode.infos[1:]) if infos["c1d1"]["late"]]
    assert len(late) == 3, "late for one slot, and for the two that passed meanwhile"
    assert late == list(range(late[0], late[0] + 3))
    assert env.late_steps == episode.result.manifest["late_steps"] == 3
    tasks = [t for t in episode.tasks if int(t["born_s"]) in late]
    assert tasks
    assert all(t["target"] == t["device"] for t in tasks)
    counters = episode.result.manifest["nodes"]
    assert sum(counters[a]["undecided"] for a in env.possible_agents) == len(tasks)
    assert any(t["target"] != t["device"] for t in episode.tasks)


def test_it_closes_in_the_middle_and_begins_again(tmp_path: Path) -> None:
    before = snapshot.take()
    env = make(tmp_path)
    for _ in range(2):
        seen, _ = env.reset(seed=SEED)
        wrong = {a: np.full(env.action_space(a).shape or (), -1) for a in env.agents}
        with pytest.raises(ValueError, match=r"^c1d1: the target of place 0 is -1"):
            env.step(wrong)
        env.step(sampled(env, seen))
    folder = env.folder
    env.close()
    env.close()
    assert not before.changes(snapshot.take())
    assert folder is not None
    assert open_result(folder).manifest["complete"] is False
    with pytest.raises(ValueError, match="the episode is over"):
        env.step({})


def test_the_contract_of_pettingzoo(tmp_path: Path) -> None:
    with make(tmp_path, slots=2) as env, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("default", LateStep)
        parallel_api_test(env, num_cycles=5)


_CALLER = """
import sys
from pathlib import Path
from emulation.env import EmulationEnv
from model.scenario.load import load_scenario
env = EmulationEnv(load_scenario("mini", {"slots": 60}), out=Path(sys.argv[1]))
seen, _ = env.reset(seed=1)
print("steps", flush=True)
while env.agents:
    seen, *_ = env.step({a: env.action_space(a).sample(seen[a]["action_mask"]) for a in env.agents})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_of_a_run_whose_caller_is_ended(tmp_path: Path, number: int) -> None:
    before = snapshot.take()
    caller = subprocess.Popen(
        [sys.executable, "-c", _CALLER, str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert caller.stdout is not None
    assert caller.stdout.readline() == "steps\n"
    time.sleep(1.2)
    caller.send_signal(number)
    _, said = caller.communicate(timeout=30)
    assert ("KeyboardInterrupt" in said) == (number == signal.SIGINT)
    deadline = time.monotonic() + 20.0
    while _under_way(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not before.changes(snapshot.take())


def _under_way(out: Path) -> bool:
    return any(
        open_result(m.parent).manifest["ended_utc"] is None for m in out.rglob("manifest.json")
    )


def test_a_machine_that_cannot_emulate_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise UserError("this machine cannot emulate now: privilege: not root")

    monkeypatch.setattr(environment, "require_machine", refuse)
    with pytest.raises(UserError, match="privilege"):
        make(Path())
