"""`./lab sweep` as typed: what it keeps through kills, faults and full disks, and what it says."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from cli.sweep import sweep
from records.reader import find_results, open_result
from tests.commands import end_group, finish, released, wait_for_simulations
from tests.experiments.sweep_policies import REAL_TIME_US

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "cli", "sweep"]
POLICIES = "tests.experiments.sweep_policies"
SLOW = f"'{POLICIES}:Slow'"
RUN = """\
run:
  test: {{scenarios: [mini], policies: [{policies}], seeds: {seeds}, set: {{slots: 10}}}}
"""
TRAIN = """\
train:
  learners:
    algorithms: [mappo]
    scenarios: [mini]
    seeds: 1
    settings: {{slots: {slots}, envs: 2, chunk_slots: 10, evaluation_episodes: 1}}
"""


def write(tmp_path: Path, text: str) -> tuple[str, str, str]:
    """A sweep file, and the arguments for it."""
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return str(path), "--out", str(tmp_path / "out")


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return finish([*COMMAND, *arguments], cwd=ROOT)


@contextmanager
def under_way(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        end_group(process)


def of_this_test(process: psutil.Process) -> bool:
    """Whether a sweep of this test started it; the sweep itself asks policies their names."""
    return os.getpid() in (parent.pid for parent in process.parents()[1:])


def wait_for_worker() -> int:
    """Wait until a process of a sweep simulates a user's policy; return its pid, or one of them."""
    return wait_for_simulations(of_this_test)[0]


def ends(pid: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def rows(*arguments: str, query: str = "SELECT * FROM cells") -> list[dict[str, str]]:
    asked = lab(*arguments, "--query", query)
    assert asked.returncode == 0, asked.stderr
    return list(csv.DictReader(io.StringIO(asked.stdout)))


def test_plans_runs_and_does_nothing_twice(tmp_path: Path) -> None:
    mine = write(tmp_path, RUN.format(policies="own-edge, local", seeds="0-1"))
    planned = lab(*mine, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "my: 4 cells, 4 to do" in planned.stdout
    assert "4 cells by stated rate" in planned.stdout
    assert not (tmp_path / "out").exists()
    done = lab(*mine)
    assert done.returncode == 0, done.stderr
    assert "4 cells done, 0 failed, 0 open" in done.stdout
    results = find_results(tmp_path / "out")
    assert {(r.manifest["policy"], r.manifest["seed"]) for r in map(open_result, results)} == {
        ("own-edge", 0), ("own-edge", 1), ("local", 0), ("local", 1)
    }  # fmt: skip
    again = lab(*mine)
    assert again.returncode == 0
    assert "4 cells, 0 to do" in again.stdout
    assert find_results(tmp_path / "out") == results
    query = "SELECT policy, avg(unit_delay) AS ud FROM cells GROUP BY 1 ORDER BY 1"
    assert [r["policy"] for r in rows(*mine, query=query)] == ["local", "own-edge"]


def test_a_cell_that_raises_is_reported_and_begun_again_when_asked(tmp_path: Path) -> None:
    broken = f"'{POLICIES}:Broken'"
    mine = write(tmp_path, RUN.format(policies=f"own-edge, {broken}", seeds=0))
    first = finish(["prlimit", f"--rttime={REAL_TIME_US}", *COMMAND, *mine], cwd=ROOT)
    assert first.returncode == 1
    (line,) = (text for text in first.stderr.splitlines() if text.startswith("failed: "))
    assert line.startswith(f"failed: mini {POLICIES}:Broken seed 0 simulator: policy Broken on c")
    assert "decide: ZeroDivisionError: no idea" in line
    assert "Traceback" not in first.stderr
    assert "1 cells done, 1 failed" in first.stdout
    (failed,) = (r for r in rows(*mine) if r["status"] == "failed")
    trace = tmp_path / "out" / "cells" / failed["key"] / "error.txt"
    assert "sweep_policies.py" in trace.read_text()
    assert lab(*mine).returncode == 1, "a failed cell stays failed unless asked"
    again = lab(*mine, "--retry-failed")
    assert again.returncode == 0, again.stdout
    assert "2 cells done, 0 failed" in again.stdout
    assert not trace.exists()


def test_runs_use_what_the_sweep_trained(tmp_path: Path) -> None:
    text = TRAIN.format(slots=40) + RUN.format(
        policies="{policy: mappo, checkpoints: learners}", seeds="0-1"
    )
    mine = write(tmp_path, text)
    done = lab(*mine)
    assert done.returncode == 0, done.stderr + done.stdout
    found = rows(*mine)
    training = next(r for r in found if r["kind"] == "training")
    assert float(training["trained_slots"]) == 40
    best = tmp_path / "out" / training["result"] / "best.npz"
    for folder in find_results(tmp_path / "out"):
        manifest = open_result(folder).manifest
        assert Path(manifest["policy_params"]["checkpoint"]) == best
        assert manifest["sweep"]["training_cell"] == training["key"]


def test_a_killed_sweep_goes_on_and_leaves_no_process(tmp_path: Path) -> None:
    mine = write(tmp_path, RUN.format(policies=f"own-edge, {SLOW}", seeds="0-1"))
    with under_way(*mine, "--jobs", "1") as process:
        worker = wait_for_worker()
        process.send_signal(signal.SIGKILL)
        assert ends(worker)
    kept = [r["key"] for r in rows(*mine) if r["status"] == "done"]
    with released(of_this_test):
        done = lab(*mine)
    assert done.returncode == 0, done.stderr
    assert f"4 cells, {4 - len(kept)} to do" in done.stdout
    assert len(find_results(tmp_path / "out")) == 4, "what the killed cell had left is gone"


def test_the_cell_of_a_killed_worker_comes_back(tmp_path: Path) -> None:
    mine = write(tmp_path, RUN.format(policies=f"own-edge, {SLOW}", seeds="0-1"))
    with under_way(*mine, "--jobs", "2") as process:
        os.kill(wait_for_worker(), signal.SIGKILL)
        with released(of_this_test):
            said, complaints = process.communicate(timeout=90)
    assert process.returncode == 0, complaints
    assert "its process was killed (attempt 1)" in complaints
    assert "4 cells done, 0 failed" in said


def test_ctrl_c_finishes_what_is_under_way(tmp_path: Path) -> None:
    mine = write(tmp_path, RUN.format(policies=SLOW, seeds="0-9"))
    with under_way(*mine, "--jobs", "1") as process:
        wait_for_worker()
        process.send_signal(signal.SIGINT)
        with released(of_this_test):
            said, complaints = process.communicate(timeout=60)
    assert process.returncode == 130, complaints
    assert "stopping: runs are finished" in complaints
    found = [r for r in rows(*mine) if r["status"] == "done"]
    assert 0 < len(found) < 10
    assert f"{len(found)} cells done, 0 failed" in said


def test_ctrl_c_saves_a_training_which_goes_on(tmp_path: Path) -> None:
    mine = write(tmp_path, TRAIN.format(slots=400))
    with under_way(*mine) as process:
        cells = tmp_path / "out" / "cells"
        end = time.monotonic() + 60
        while not any('"slots": 20' in p.read_text() for p in cells.rglob("log.jsonl")):
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    (log,) = cells.rglob("log.jsonl")
    before = len(log.read_text().splitlines())
    assert list(cells.rglob("state.pt"))
    done = lab(*mine)
    assert done.returncode == 0, done.stderr
    assert not list(cells.rglob("state.pt")), "there is nothing to go on with"
    slots = [json.loads(line)["slots"] for line in log.read_text().splitlines()]
    assert len(slots) > before
    assert slots == sorted(slots), "it went on and did not begin again"
    assert slots[-1] == 400


def test_two_sweeps_of_a_folder_at_once(tmp_path: Path) -> None:
    mine = write(tmp_path, RUN.format(policies=SLOW, seeds=0))
    with under_way(*mine):
        wait_for_worker()
        second = lab(*mine)
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "a sweep is under way there (process" in second.stderr


@pytest.mark.root
def test_a_full_disk_stops_it_in_one_line_and_it_goes_on(tmp_path: Path) -> None:
    mine = write(tmp_path, RUN.format(policies="own-edge, local", seeds="0-19"))
    disk = tmp_path / "out"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=400k tmpfs "$1"; shift; "$@"; status=$?; exit $status'
    done = finish(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(disk), *COMMAND, *mine], cwd=ROOT
    )
    assert done.returncode == 2, done.stderr + done.stdout
    last = done.stderr.splitlines()[-1]
    assert "No space left on device" in last
    assert "Traceback" not in done.stderr
    again = lab(*mine)
    assert again.returncode == 0, again.stderr


def test_emulations_are_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RUN.format(policies="own-edge", seeds=0).replace("seeds", "worlds: [emulation], seeds")
    monkeypatch.setattr("cli.sweep.why_no_emulation", lambda _: "not root")
    done = CliRunner().invoke(sweep, write(tmp_path, text), standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "skipped: 1 cells: not root" in done.output
    assert "0 cells done, 0 failed, 1 open" in done.output


@pytest.mark.ovs
def test_an_emulation_is_a_cell_with_its_verdict(tmp_path: Path) -> None:
    text = RUN.format(policies="own-edge", seeds=0).replace("slots: 10", "slots: 3")
    mine = write(tmp_path, text.replace("seeds", "worlds: [simulator, emulation], seeds"))
    done = lab(*mine)
    assert done.returncode == 0, done.stderr + done.stdout
    found = {r["kind"]: r for r in rows(*mine)}
    assert found["emulation"]["fidelity"].startswith(("valid", "invalid: "))
    assert found["simulator"]["fidelity"] == ""
    worlds = {open_result(f).manifest["world"] for f in find_results(tmp_path / "out")}
    assert worlds == {"emulation", "simulation"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "there is no sweep 'nowhere'"),
        (["ci", "--shard", "3/2"], "must be I/N"),
        (["ci", "--out", "/proc/1/x"], "cannot be written"),
        (["ci", "--out", "/nowhere-at-all", "--query", "SELECT 1"], "has been run yet"),
    ],
)
def test_mistakes_take_a_line(arguments: list[str], says: str) -> None:
    done = lab(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
