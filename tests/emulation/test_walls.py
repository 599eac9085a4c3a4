"""Walls around nodes, piece by piece: what is told, what is believed, whom a unit serves."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from emulation.host import ledger
from emulation.host.uids import FIRST, first_uid
from emulation.options import RunOptions
from emulation.orchestrator.briefer import Briefer
from emulation.orchestrator.deployment import PROJECT, Machinery
from emulation.protocol.briefing import Briefing
from emulation.protocol.json_channel import Channel
from emulation.protocol.messages import from_list
from emulation.sandbox import seccomp
from model.network import build_network
from model.random_streams import generator, stream
from model.scenario import CloudSpec, Scenario
from model.workload import generate_trace
from tests.emulation.scenarios import small_scenario

SCENARIO = small_scenario().model_copy(update={"slots": 60})
NETWORK = build_network(SCENARIO)
TRACE = generate_trace(SCENARIO, 5, NETWORK)


def briefer(scenario: Scenario = SCENARIO) -> Briefer:
    network = build_network(scenario)
    return Briefer(scenario, network, generate_trace(scenario, 5, network), 5, 1.0)


@pytest.mark.parametrize("name", [n.name for n in NETWORK.units])
def test_a_briefing_survives_its_journey(name: str) -> None:
    briefing = briefer().brief(name, "local", {"x": 1})
    again = Briefing.from_json(json.loads(json.dumps(briefing.to_json())))
    assert again == briefing


def test_a_device_is_told_of_itself_alone() -> None:
    briefing = briefer().brief("c1d1", "local", {})
    agent = briefing.agent
    assert agent is not None
    assert briefing.owners is None
    assert {int(TRACE.device[k]) for k in agent.tasks.ids} == {agent.index}
    assert set(briefing.targets) == set(agent.profile.targets) - {"c1d1"}
    # The cell's other device may send here, and nobody else.
    assert list(briefing.senders.values()) == [agent.index + 1]
    text = json.dumps(briefing.to_json())
    for secret in ("network", "seed", "edge_ghz", "bs1", "c2d1", "buffer"):
        assert secret not in text


def test_only_edges_pass_on_what_is_not_their_own() -> None:
    overflow = SCENARIO.model_copy(update={"cloud": CloudSpec(mode="overflow")})
    made = briefer(overflow)
    edge, cloud = made.brief("e1", "", {}), made.brief("cloud", "", {})
    assert edge.overflow is not None
    assert set(edge.targets) == {"cloud"}
    assert sorted(k for k in edge.senders.values() if k is not None) == [0, 1, 2, 3]
    assert set(cloud.senders.values()) == {None}


def test_the_policy_draws_as_in_the_simulator() -> None:
    agent = briefer().brief("c1d1", "local", {}).agent
    assert agent is not None
    here, there = generator(agent.policy_key), stream(5, "policy", "c1d1")
    assert np.array_equal(here.random(100), there.random(100))
    assert np.array_equal(here.integers(0, 9, 50), there.integers(0, 9, 50))


@pytest.mark.parametrize(
    "value",
    [["ping", 1, 2.0, 0.1], ["slot", 1, 0.0, float("nan"), 4.0, 0.5], ["known", "0", 1.0],
     ["slot", 1, 0.0, 1e300, 4.0, 0.5], ["log", "info", 0.0, "x" * 5000], ["known", 10**30, 1.0],
     ["baseline", {"e1": "fast"}, []], ["baseline", {}, [["e1"]]], ["bye", [1]],
     ["ready", None, ""]],
)  # fmt: skip
def test_what_no_node_says_is_refused(value: list[Any]) -> None:
    with pytest.raises(ValueError, match="not a record"):
        from_list(value)


def _listen(data: bytes, receive: Callable[[str, Any], None] = lambda _, __: None) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        channel = Channel("c1d1", ours)
        listening = asyncio.create_task(channel.listen(receive))
        _, writer = await asyncio.open_connection(sock=theirs)
        writer.write(data)
        writer.close()
        await asyncio.wait_for(listening, 10)
        channel.close()

    asyncio.run(main())


@pytest.mark.parametrize("data", [b"[" * 100_000 + b"\n", b"\xff\xfe\n", b"{\n", b"\n"])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says it in its own words
        _listen(data)


def test_uids_of_runs_do_not_meet() -> None:
    assert first_uid("0000") == FIRST
    assert first_uid("ffff") + 4095 == 2**31 - 1
    assert first_uid("0001") - first_uid("0000") == 4096


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_a_program_that_ends(machine: str) -> None:
    lines = seccomp.program(machine)
    for k, (code, yes, no, _) in enumerate(lines):
        if code in (0x15, 0x35, 0x45):
            assert max(k + 1 + yes, k + 1 + no) < len(lines)
    assert lines[-1][0] == 0x06


@pytest.mark.parametrize("inside", ["results", "results/a/b", "scenarios/mine"])
def test_what_lies_in_a_hidden_folder_is_not_hidden_again(inside: str) -> None:
    options = RunOptions(SCENARIO, out=PROJECT / inside)
    hidden = Machinery._hidden(cast(Machinery, SimpleNamespace(options=options)))
    assert set(hidden) == {str(PROJECT / "scenarios"), str(PROJECT / "results")}


def test_a_forged_environment_does_not_hide_a_node(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(f"State:\tS (sleeping)\nUid:\t{first_uid('00ab') + 3}\t0\n")
    (tmp_path / "environ").write_bytes(b"A=1\0CROWD_EDGE_RUN=ffff\0")
    assert ledger._run_of_process(tmp_path) == "00ab"
    (tmp_path / "status").write_text("State:\tS (sleeping)\nUid:\t0\t0\n")
    assert ledger._run_of_process(tmp_path) == "ffff"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a process of another uid")
def test_a_node_cannot_clear_its_death_signal_nor_hide_from_clean() -> None:
    script = (
        "import ctypes, os, time\n"
        "from emulation.host import syscalls as kernel; from emulation.sandbox import seccomp\n"
        f"os.setresuid(*[{first_uid('00ab') + 3}] * 3)\n"
        "kernel.prctl(38, 1)\n"
        "seccomp.install()\n"
        "print(ctypes.CDLL(None).prctl(1, 0, 0, 0, 0), flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "CROWD_EDGE_RUN": "ffff", "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "-1\n"
            assert process.pid in ledger.processes_of("00ab")
        finally:
            process.kill()
