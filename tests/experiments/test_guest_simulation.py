"""A user's policy in the simulator: numbers as in one process, and one line for what goes wrong."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from emulation.host.uids import FIRST, draw_run_id, run_of_uid
from emulation.sandbox.launcher_client import guests, launcher
from experiments import guest
from experiments.guest import completed, described
from experiments.keys import code_version, source_hash
from experiments.simulated import simulated
from experiments.sweep.cell import RunCell
from experiments.sweep.execute import Job, execute
from model.errors import UserError
from model.scenario import Scenario
from model.scenario.load import load_scenario
from rl import policies
from rl.policies.checking import PolicyError
from rl.simulator.run import simulate
from tests.rl.test_scenario_keys import FAILURE, PROCESS, TWO_CELLS

MODULE = "tests.experiments.simulator_policies"
WORLDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "observed": {"decision.compute_status": "observed"},
    "two cells": TWO_CELLS,
    "failures": {**PROCESS, **FAILURE},
    "cloud": {"cloud.mode": "target", "workload.arrival": "burst"},
}


def scenario(name: str = "plain", slots: int = 20) -> Scenario:
    return load_scenario("mini", {"slots": slots, **WORLDS[name]})


def in_one_process(world: Scenario, policy: str, **params: Any) -> dict[str, pa.Table]:
    return simulate(world, partial(policies.create, policy, params), 7).tables


def same(one: dict[str, pa.Table], other: dict[str, pa.Table]) -> bool:
    return one.keys() == other.keys() and all(
        one[k].to_pylist() == other[k].to_pylist()
        or repr(one[k].to_pylist()) == repr(other[k].to_pylist())
        for k in one
    )


@pytest.mark.parametrize("world", list(WORLDS))
@pytest.mark.parametrize("kind", ["Everything", "Coordinator", "Knows"])
def test_a_simulation_is_the_same_bit_for_bit(world: str, kind: str) -> None:
    policy, made = f"{MODULE}:{kind}", scenario(world)
    assert same(simulated(made, policy, {}, 7), in_one_process(made, policy))


def test_with_more_devices_than_processes_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, made = f"{MODULE}:Everything", scenario()
    monkeypatch.setattr(guest, "MOST_PROCESSES", 3)
    found = simulated(made, policy, {"share": 0.25}, 7)
    assert same(found, in_one_process(made, policy, share=0.25))
    with pytest.raises(PolicyError, match=r"policy Shares on c2d2: reset: .*not alone"):
        simulated(made, f"{MODULE}:Shares", {}, 7)


def test_devices_share_no_process() -> None:
    assert simulated(scenario(), f"{MODULE}:Shares", {}, 7)["tasks"].num_rows > 0


def test_a_policy_of_the_checkout_is_a_users_as_well() -> None:
    assert simulated(scenario(), f"{MODULE}:NeverRoot", {}, 7)["tasks"].num_rows > 0


def test_nothing_of_a_policy_is_imported_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_nowhere.py").write_text(
        "from model.observation import Decision\n"
        "from rl.policies.base import Policy\n"
        "class Mine(Policy):\n"
        "    def decide(self, observation, task):\n"
        "        return Decision(0, self.profile.max_rate_mbps)\n"
    )
    monkeypatch.chdir(tmp_path)
    cell = RunCell(scenario(), "imported_nowhere:Mine", {}, 7, "simulator")
    job = Job(cell, "test", keep_result=False)
    assert execute(job, tmp_path / "cell", None).metrics["tasks_done"]
    assert "imported_nowhere" not in sys.modules
    before = cell.key
    (tmp_path / "imported_nowhere.py").write_text("# changed\n")
    code_version.cache_clear()
    source_hash.cache_clear()
    assert replace(cell, seed=7).key != before


ENDS = {
    "dies": r"its process has ended",
    "closes": r"its process has ended|decide: OSError",
    "raises": r"decide: LookupError: \?\[31mno idea \(simulator_policies.py, line \d+\)",
    "sends_rubbish": "its process has sent what is no answer",
    "sends_half_a_decision": "its process has sent what is no answer",
    "sends_a_decision_by_state": "its process has sent what is no answer",
    "sends_an_illegal_one": "target 99 is not one of 0 … 4",
    "sends_facts": "its process has sent what is no answer",
    "prints_for_ever": "its process has printed 20000 lines without an answer",
    "opens_a_file": r"decide: (PermissionError|FileNotFoundError): .*a policy sees only files",
    "opens_a_socket": r"decide: PermissionError: \[Errno 1\]",
}


@pytest.mark.parametrize("how", list(ENDS))
def test_what_goes_wrong_takes_one_line(how: str) -> None:
    with pytest.raises(UserError, match=rf"^policy Misbehaves on c\dd\d: {ENDS[how]}") as found:
        simulated(scenario(), f"{MODULE}:Misbehaves", {"how": how}, 7, on_print=lambda _: None)
    assert str(found.value).isprintable()


def test_what_a_policy_prints_is_cleaned_and_limited() -> None:
    lines: list[str] = []
    policy = f"{MODULE}:Misbehaves"
    simulated(scenario(slots=3), policy, {"how": "prints_much"}, 7, on_print=lines.append)
    assert lines[0].startswith("policy Misbehaves on c")
    assert all(line.isprintable() for line in lines)
    devices = {line.split()[3] for line in lines}
    assert len(lines) == 201 * len(devices)
    assert "further ones are left out" in lines[200]


def test_a_class_is_read_in_a_process_of_its_own() -> None:
    assert described(f"{MODULE}:Coordinator").needs == "state"
    assert described(f"{MODULE}:Everything").parameters == ("share",)
    with pytest.raises(UserError, match="has no Everyting; did you mean 'Everything'"):
        described(f"{MODULE}:Everyting")
    with pytest.raises(UserError, match="share = 'x': must be a finite number"):
        completed(f"{MODULE}:Everything", {"share": "x"}, scenario())
    with pytest.raises(UserError, match="has no parameter 'shar'; did you mean 'share'"):
        completed(f"{MODULE}:Everything", {"shar": 1}, scenario())


def test_processes_end_with_their_block() -> None:
    with guests(f"{MODULE}:Everything", {}, 3) as made:
        assert [g.describe().name for g in made] == ["Everything"] * 3
        pipes = [g._pipe.dup() for g in made]
    for pipe in pipes:
        with pipe:
            assert pipe.recv(1) == b""


def test_a_launcher_that_was_killed_is_told_of() -> None:
    own = launcher()
    own._process.kill()
    own._process.wait()
    with pytest.raises(UserError, match="the process that starts policies has ended"):
        own.start(f"{MODULE}:Everything", [], 1)
    assert described(f"{MODULE}:Knows").needs == "truth"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives uids away")
def test_a_clean_up_of_runs_leaves_policies_of_simulations_alone() -> None:
    with guests(f"{MODULE}:Everything", {}, 2) as made:
        made[1].describe()
        texts = [p.read_text() for p in Path("/proc").glob("[0-9]*/status") if p.exists()]
        uids = {int(re.findall(r"(?m)^Uid:\s+(\d+)", text)[0]) for text in texts}
        mine = {uid for uid in uids if uid >= FIRST and run_of_uid(uid) is None}
        assert len(mine) >= 2
    assert all(int(draw_run_id(), 16) < 0xFF00 for _ in range(2000))
