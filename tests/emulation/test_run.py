"""Whole runs on real Open vSwitch, real queues, real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest

from experiments.chaos import snapshot
from metrics.summary import summarise
from model.scenario.load import load_scenario
from model.workload import generate_trace
from records.reader import Result, find_results, open_result
from tests.busy import alone, require_idle

pytestmark = [pytest.mark.ovs, pytest.mark.slow, pytest.mark.timeout(180)]
PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Whatever a test does, the machine looks afterwards as it did before."""
    before = snapshot.take()
    yield
    assert not before.changes(snapshot.take())


def start(out: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a run as a user does; ``LAB_VENV`` says that this is the project's environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "emulation.run", "mini", "--out", str(out), *arguments],
        cwd=PROJECT,
        env={**os.environ, "LAB_VENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], status: int) -> str:
    """Wait for a run; its output, if it ended with ``status``."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    return output


def result_in(out: Path) -> Result:
    (folder,) = find_results(out)
    return open_result(folder)


def wait_for_slot(process: subprocess.Popen[str], slot: int) -> None:
    """Read a run's output until it says that it has come to ``slot``."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["slot"] and int(words[1].split("/")[0]) >= slot:
            return
    raise AssertionError("the run ended before that slot")


@pytest.mark.timing
@pytest.mark.parametrize("openflow", ["ryu", "os-ken"])
def test_a_run_with_each_openflow_library(tmp_path: Path, openflow: str) -> None:
    words = ("--openflow", openflow, "--slots", "12", "--seed", "3", "--policy", "random")
    with alone():
        output = finish(start(tmp_path, *words), 0)
    result = result_in(tmp_path)
    times_are_in_order(result)
    require_idle(result)
    assert str(result.folder) in output.replace("\n", "")
    assert result.manifest["complete"] is True
    assert result.manifest["exit_status"] == 0
    scenario = load_scenario("mini", {"slots": 12})
    trace = generate_trace(scenario, 3)
    tasks = result.table("tasks")
    assert sorted(tasks["task"].to_pylist()) == list(range(len(trace)))
    outcomes = set(tasks["outcome"].to_pylist())
    assert "done" in outcomes
    assert "failed" not in outcomes
    slots = result.table("slots")
    assert slots["slot"].to_pylist() == list(range(12))
    links = result.table("links")
    assert sorted(set(links["slot"].to_pylist())) == list(range(12))
    assert pc.sum(links["sent_bytes"]).as_py() > 0
    units = result.table("units")
    assert units.num_rows == 12 * len(set(units["unit"].to_pylist()))
    probes = result.table("probes")
    assert probes["rtt_s"].null_count <= 0.05 * probes.num_rows


def times_are_in_order(result: Result) -> None:
    tasks = result.table("tasks").to_pylist()
    steps = ("born_s", "dispatched_s", "arrived_s", "service_start_s", "service_end_s", "known_s")
    done = [t for t in tasks if t["outcome"] == "done"]
    assert len(done) > 5
    for task in done:
        times = [task[s] for s in steps]
        assert times == sorted(times), task


@pytest.mark.timing
def test_everything_to_the_edge_congests_its_access_link(tmp_path: Path) -> None:
    summaries = {}
    for policy in ("own-edge", "self-biased"):
        with alone():
            words = ("--policy", policy, "--seed", "1", "--speedup", "2")
            finish(start(tmp_path / policy, *words), 0)
        result = result_in(tmp_path / policy)
        require_idle(result)
        summaries[policy] = summarise(result)
    edge, default = summaries["own-edge"], summaries["self-biased"]
    assert edge.link_load["e2d"] + edge.link_load["access"] > 2 * (
        default.link_load["e2d"] + default.link_load["access"]
    )
    assert default.unit_delay < edge.unit_delay


def test_interrupt_keeps_a_partial_result(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for_slot(process, 2)
    process.send_signal(signal.SIGINT)
    output = finish(process, 130)
    assert "partial" in output
    result = result_in(tmp_path)
    assert result.manifest["complete"] is False
    assert result.manifest["exit_status"] == 130
    assert result.table("slots").num_rows >= 1


def test_two_interrupts_end_at_once(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for_slot(process, 2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    finish(process, 130)


@pytest.mark.parametrize("delay_s", [0.4, 0.8, 1.2])
def test_interrupt_during_bring_up(tmp_path: Path, delay_s: float) -> None:
    process = start(tmp_path)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    # Before our handler is there, Python itself ends by the signal.
    assert process.returncode in {130, -signal.SIGINT}


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for arguments, word in (
        (["--policy", "self-baised"], "self-biased"),
        (["--set", "network.e2d.rate=5"], "rate_mbps"),
        (["--param", "nonsense"], "KEY=VALUE"),
    ):
        output = finish(start(tmp_path, *arguments), 2)
        assert word in output
        assert "Traceback" not in output
        assert len(output.strip().splitlines()) == 1


@pytest.mark.timing
def test_status_is_told_where_the_scenario_says_so(tmp_path: Path) -> None:
    policy = "tests.emulation.policies_of_tests:GoesWhenItKnows"
    arguments = ("--slots", "12", "--speedup", "2", "--policy", policy,
                 "--set", "decision.compute_status=observed")  # fmt: skip
    with alone():
        finish(start(tmp_path, *arguments), 0)
    result = result_in(tmp_path)
    require_idle(result)
    tasks = result.table("tasks").to_pylist()
    early = {t["target"] == t["device"] for t in tasks if t["born_s"] < 0.9}
    late = {t["target"][0] for t in tasks if t["born_s"] > 3.0 and t["target"]}
    assert early <= {True}
    assert late == {"e"}
