"""Whole runs in which clips are really transcoded, over real Open vSwitch."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from analysis.prototype import ROLES, prototype_of
from emulation.host.ledger import run_processes
from emulation.node.transcoding import content
from emulation.node.transcoding.ffmpeg import FRAME_TOLERANCE
from emulation.orchestrator import clip_cache
from experiments.chaos import snapshot
from model.clips import catalogue_of, picture
from model.scenario.load import load_scenario
from records.reader import Result, find_results, open_result
from tests.busy import alone, require_idle
from tests.emulation.typed import run_lab, started_lab

pytestmark = [pytest.mark.ovs, pytest.mark.ffmpeg, pytest.mark.slow, pytest.mark.timeout(180)]

ON_THE_WAY_S = 2.0
"""How long a result may take to come back: full queues of 4 MB hold it up by 0.3 s a link."""


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Whatever a run does, the machine looks afterwards as it did before, cgroups included."""
    before = snapshot.take()
    yield
    assert not before.changes(snapshot.take())


def emulate(out: Path, *arguments: str) -> Result:
    with alone():
        done = run_lab("livecast-mini", out, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = find_results(out)
    return open_result(folder)


def of_kind(table: pa.Table, column: str, value: str) -> pa.Table:
    return table.filter(pc.equal(table[column], value))


@pytest.mark.timing
def test_clips_are_transcoded_everywhere_and_come_back(tmp_path: Path) -> None:
    result = emulate(tmp_path, "--policy", "random", "--seed", "2")
    require_idle(result)
    clips, spec = catalogue_of(result.scenario), result.scenario.clips
    assert spec is not None
    tasks, done = result.table("tasks"), result.table("transcodes")
    outcomes = tasks["outcome"].to_pylist()
    assert "failed" not in outcomes
    came_back(result, done)
    assert set(done["target_kind"].to_pylist()) == {"self", "device", "edge"}
    assert done["error"].null_count == done.num_rows
    for row in done.to_pylist():
        clip = clips[row["clip"]]
        wanted = round(clip.duration_s * picture(spec, clip.result).fps)
        assert abs(row["frames"] - wanted) <= FRAME_TOLERANCE
        assert row["data_bytes"] == clip.data_bytes
        assert row["result_bytes"] > 1000
        # FFmpeg has one thread: it cannot use more of the processor than time has passed.
        assert 0.0 < row["cpu_s"] <= row["end_s"] - row["start_s"] + 0.05
    crossed_the_links(result, done)
    the_monitor_saw_it(result, done)
    figures = prototype_of(result, result.scenario.duration_s)
    assert set(figures.coder_share) == set(ROLES)
    assert min(figures.coder_share.values()) > 0.0
    assert all(0.0 < s < 20.0 for s in figures.delay_s.values())


def came_back(result: Result, done: pa.Table) -> None:
    """Each result that came back was made once; all of them came back but the last ones.

    How many there are is up to the speed of this machine's FFmpeg.
    """
    made_s = dict(zip(done["task"].to_pylist(), done["end_s"].to_pylist(), strict=True))
    assert len(made_s) == done.num_rows
    back = {t["task"] for t in result.table("tasks").to_pylist() if t["outcome"] == "done"}
    assert back
    assert back <= set(made_s)
    last_s = result.scenario.duration_s - ON_THE_WAY_S
    assert back >= {task for task, end_s in made_s.items() if end_s < last_s}


def crossed_the_links(result: Result, done: pa.Table) -> None:
    """What the edge was sent and sent back went over its access link."""
    at_edge = of_kind(done, "target_kind", "edge")
    links = result.table("links")
    for link, column in (("bs1>e1", "data_bytes"), ("e1>bs1", "result_bytes")):
        sent = pc.sum(of_kind(links, "link", link)["sent_bytes"]).as_py()
        assert sent > pc.sum(at_edge[column]).as_py()


def the_monitor_saw_it(result: Result, done: pa.Table) -> None:
    """A row a second and node; CPU and bytes are at least what transcoding took and moved."""
    used = result.table("resources")
    assert sorted(set(used["node"].to_pylist())) == ["c1d1", "c1d2", "c1d3", "e1"]
    assert used.num_rows == 4 * result.scenario.slots
    edge = of_kind(used, "node", "e1")
    at_edge = of_kind(done, "unit", "e1")
    assert pc.sum(edge["cpu_s"]).as_py() >= 0.9 * pc.sum(at_edge["cpu_s"]).as_py()
    assert pc.sum(edge["received_bytes"]).as_py() > pc.sum(at_edge["data_bytes"]).as_py()
    assert pc.sum(edge["sent_bytes"]).as_py() > pc.sum(at_edge["result_bytes"]).as_py()
    assert pc.min(used["memory_mb"]).as_py() > 1.0


@pytest.mark.timing
def test_units_have_their_share_of_the_machine(tmp_path: Path) -> None:
    result = emulate(tmp_path, "--policy", "local", "--slots", "12")
    require_idle(result)
    shares, compute = result.manifest["cpu_shares"], result.scenario.compute
    assert shares["cores"]["e1"] == pytest.approx(compute.edge_ghz / compute.core_ghz)
    if shares["by"] == "niceness":
        pytest.skip("this machine offers no CPU quotas: only niceness was set")
    done = result.table("transcodes").to_pylist()
    assert {row["target_kind"] for row in done} == {"self"}
    for row in done:
        # A whole core would be more than ten times as much. A quota is for each tenth of a second.
        cores, took_s = shares["cores"][row["unit"]], row["end_s"] - row["start_s"]
        assert row["cpu_s"] <= 1.1 * cores * (took_s + 0.2)


@pytest.mark.timing
def test_a_corrupt_clip_is_a_failed_task_and_the_worker_goes_on(tmp_path: Path) -> None:
    # Clips of its own: those of other runs are not to be spoiled.
    settings = {"clips.duration_s": "[1.9, 2.3]", "workload.data_mb": "0.304",
                "workload.work_ghz_s": "15.2"}  # fmt: skip
    scenario = load_scenario("livecast-mini", settings)
    assert scenario.clips is not None
    folder = clip_cache.prepare(scenario.clips, lambda _: None)
    try:
        path = content.clip_path(folder, 0)
        data = path.read_bytes()
        path.write_bytes(data[:188] + bytes(len(data) - 188))
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        result = emulate(tmp_path, "--policy", "random", "--seed", "2", *words)
    finally:
        shutil.rmtree(folder)
    require_idle(result)
    tasks = {row["task"]: row for row in result.table("tasks").to_pylist()}
    done = result.table("transcodes").to_pylist()
    failed = [row for row in done if row["error"]]
    assert failed
    assert {row["clip"] for row in failed} == {0}
    assert all(row["error"].startswith("ffmpeg: ") for row in failed)
    for row in failed:
        task = tasks[row["task"]]
        # What was reported in the last moment of a run did not happen in it.
        if task["outcome"] != "unfinished":
            assert (task["outcome"], task["reason"]) == ("failed", row["error"])
    assert "failed" in {task["outcome"] for task in tasks.values()}
    # The same workers have gone on.
    for unit in {row["unit"] for row in failed}:
        end = min(row["end_s"] for row in failed if row["unit"] == unit)
        later = [row for row in done if row["unit"] == unit and row["start_s"] >= end]
        assert not later or any(not row["error"] for row in later)
    assert any(not row["error"] for row in done)


def test_workers_have_no_network_and_no_proc(tmp_path: Path) -> None:
    """A network namespace of its own for each, with a loopback that is down and nothing else."""
    words = ("--slots", "8", "--policy", "local")
    with started_lab("livecast-mini", tmp_path, *words) as run:
        workers = wait_for_workers(run, tmp_path)
        for pid in workers:
            links = subprocess.run(
                ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-br", "link"],
                capture_output=True, text=True, check=True,
            ).stdout.splitlines()  # fmt: skip
            assert [line.split()[:2] for line in links] == [["lo", "DOWN"]]
            assert [p.name for p in Path(f"/proc/{pid}/root/proc").iterdir()] == ["cpuinfo"]
        assert len({Path(f"/proc/{pid}/ns/net").readlink() for pid in workers}) == 4
        assert run.wait(120) == 0


def wait_for_workers(run: subprocess.Popen[str], out: Path) -> list[int]:
    """The run's four processes that are in no network namespace that has a name."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert run.poll() is None
        run_ids = {folder.name.rpartition("-")[2] for folder in find_results(out)}
        named = {p.stat().st_ino for p in Path("/run/netns").glob("*")}
        named.add(Path("/proc/self/ns/net").stat().st_ino)
        found = []
        for pid in [pid for pid, run_id in run_processes().items() if run_id in run_ids]:
            with suppress(OSError):
                if Path(f"/proc/{pid}/ns/net").stat().st_ino not in named:
                    found.append(pid)
        if len(found) == 4 and all(Path(f"/proc/{p}/root/proc/cpuinfo").exists() for p in found):
            return found
        time.sleep(0.05)
    raise AssertionError("no workers")
