"""Sweeps over a Ray cluster: two nodes on this machine, a worker killed on each."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from experiments.sweep.cell import RunCell
from experiments.sweep.cluster import _work
from experiments.sweep.execute import Job
from model.scenario.load import load_scenario
from records.reader import find_results, open_result
from tests.commands import released, wait_for_simulations

ROOT = Path(__file__).resolve().parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
POLICIES = "tests.experiments.sweep_policies"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of everything that shares the cluster: a token, and no talk of usage."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    return {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[str]:
    """Address of a cluster of two nodes of one core each, as `ray start` makes them."""
    folder = tempfile.mkdtemp(prefix="ray-")  # Short: sockets lie below it.
    address = f"127.0.0.1:{20000 + secrets.randbelow(10000)}"
    _, _, port = address.partition(":")
    common = ["--num-cpus", "1", "--resources", '{"emulation": 1}', "--disable-usage-stats",
              "--object-store-memory", "100000000", "--block"]  # fmt: skip
    head = ["--head", "--node-ip-address", "127.0.0.1", "--port", port, "--temp-dir", folder,
            "--include-dashboard", "false"]  # fmt: skip
    nodes = [_node([*head, *common], environment)]
    try:
        _wait_for_nodes(address, 1, environment)
        nodes.append(_node(["--address", address, *common], environment))
        _wait_for_nodes(address, 2, environment)
        yield address
    finally:
        for node in reversed(nodes):
            node.send_signal(signal.SIGTERM)
        for node in nodes:
            node.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _node(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*RAY, "start", *arguments], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _wait_for_nodes(address: str, count: int, environment: dict[str, str]) -> None:
    code = (
        "import ray, sys; ray.init(address=sys.argv[1], logging_level='error');"
        "print(sum(n['Alive'] for n in ray.nodes()))"
    )
    end = time.monotonic() + 90
    while time.monotonic() < end:
        asked = subprocess.run(
            [sys.executable, "-c", code, address], env=environment, capture_output=True, text=True,
            check=False, timeout=90,
        )  # fmt: skip
        if asked.stdout.strip() == str(count):
            return
        time.sleep(0.5)
    pytest.fail(f"the cluster did not come up with {count} nodes: {asked.stderr[-500:]}")


def command(tmp_path: Path, text: str, address: str) -> list[str]:
    (tmp_path / "my.yaml").write_text(text)
    return [sys.executable, "-m", "cli", "sweep", str(tmp_path / "my.yaml"),
            "--out", str(tmp_path / "out"), "--ray", address]  # fmt: skip


def test_cells_are_spread_and_those_of_killed_workers_come_back(
    tmp_path: Path, cluster: str, environment: dict[str, str]
) -> None:
    text = f"""\
train:
  learners:
    algorithms: [mappo]
    scenarios: [mini]
    seeds: 1
    settings: {{slots: 20, envs: 2, chunk_slots: 10, evaluation_episodes: 1}}
run:
  slow: {{scenarios: [mini], policies: ['{POLICIES}:Slow'], seeds: 0-1, set: {{slots: 10}}}}
  test:
    scenarios: [mini]
    policies: [{{policy: mappo, checkpoints: learners}}]
    seeds: 0-1
    set: {{slots: 10}}
"""
    process = subprocess.Popen(
        command(tmp_path, text, cluster), cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

    def of_the_cluster(worker: psutil.Process) -> bool:
        return worker.pid != process.pid and token in worker.environ().values()

    token = environment["RAY_AUTH_TOKEN"]
    try:
        # Nodes have one core each: that both wait at a time takes both nodes.
        for pid in wait_for_simulations(of_the_cluster, count=2):
            os.kill(pid, signal.SIGKILL)
        with released(of_the_cluster):
            said, complaints = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said + complaints
    assert complaints.count("its process was killed") >= 2
    assert "5 cells done, 0 failed" in said
    assert len(find_results(tmp_path / "out")) == 4
    assert not list(Path(tempfile.gettempdir()).glob(f"lab-sweep-{os.getuid()}-*"))


@pytest.mark.ovs
def test_a_node_emulates(tmp_path: Path, cluster: str, environment: dict[str, str]) -> None:
    text = (
        "run:\n  real: {scenarios: [mini], policies: [own-edge], seeds: 0, worlds: [emulation], "
        "set: {slots: 3}}\n"
    )
    done = subprocess.run(
        command(tmp_path, text, cluster), cwd=ROOT, env=environment, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = find_results(tmp_path / "out")
    manifest = open_result(folder).manifest
    assert manifest["world"] == "emulation"
    assert manifest["complete"]


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:9", "no cluster there: "), ("nowhere", "must be local, auto or HOST:PORT"),
     ("auto", "cannot join a cluster there")],
)  # fmt: skip
def test_an_address_without_a_cluster_takes_a_line(tmp_path: Path, address: str, says: str) -> None:
    text = "run:\n  a: {scenarios: [mini], policies: [local], seeds: 0, set: {slots: 3}}\n"
    done = subprocess.run(
        command(tmp_path, text, address), cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"lab: --ray {address}: {says}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_node_with_other_code_refuses() -> None:
    scenario = load_scenario("mini", {"slots": 3})
    job = Job(RunCell(scenario, "local", {}, 0, "simulator"), "test")
    outcome, files = _work(job, None, "another version")
    assert outcome.status == "failed"
    assert "has another version of the code" in outcome.reason
    assert files == {}
