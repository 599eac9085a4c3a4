"""Judged runs: what is drawn when, who can read it, and that 128 bits go through everything."""

from __future__ import annotations

import json
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.run import run as run_verb
from emulation import judged
from emulation.host.ledger import run_processes
from emulation.judged import HandedIn, draw_seed, require_walls
from metrics.summary import summarise
from model.errors import UserError
from model.random_streams import MAX_SEED
from model.scenario.load import load_scenario
from model.workload import generate_trace
from records.reader import find_results, open_result
from records.writer import ResultWriter, RunInfo, result_folder
from tests.emulation.typed import run_python, started_lab

SEED = (1 << 127) + 12345
POLICY = "tests.emulation.policies_of_tests:FixedRate"


def test_a_seed_has_128_bits() -> None:
    drawn = {draw_seed() for _ in range(50)}
    assert len(drawn) == 50
    assert all(0 <= seed <= MAX_SEED for seed in drawn)
    assert any(seed > 2**120 for seed in drawn)


@pytest.mark.parametrize("words", [["--seed", "3"], ["--seed", "1"]])
def test_judged_and_a_seed_are_refused(words: list[str]) -> None:
    done = CliRunner().invoke(run_verb, ["mini", "--judged", *words])
    assert done.exit_code == 2
    assert "the seed is drawn after the policy was handed in" in done.output


def test_judged_is_refused_in_the_simulator() -> None:
    done = CliRunner().invoke(run_verb, ["mini", "--judged", "--world", "simulator"])
    assert done.exit_code == 2
    assert "--judged: no meaning with --world simulator" in done.output


def test_a_machine_that_lacks_a_wall_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "try_walls", lambda: {"files": "OSError: no"})
    with pytest.raises(UserError, match=r"lacks walls around policies: files: OSError: no$"):
        require_walls()


@pytest.mark.parametrize("changed", ["mine.py", "beside.py", "weights.npz"])
def test_what_is_handed_in_may_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "beside.py", "weights.npz"):
        (tmp_path / name).write_text("first")
    params = {"weights": str(tmp_path / "weights.npz"), "share": 0.5}
    handed_in = HandedIn.of("mine:Class", params)
    assert set(handed_in.files) == {str(tmp_path / "mine.py"), str(tmp_path / "weights.npz")}
    handed_in.require_same("mine:Class", params)
    (tmp_path / changed).write_text("second")
    with pytest.raises(UserError, match="was changed after the policy had been handed in"):
        handed_in.require_same("mine:Class", params)


def test_the_seed_is_in_no_file_before_the_end(tmp_path: Path) -> None:
    info = RunInfo(load_scenario("mini"), "local", None, "emulation", extra={"judged": {"x": 1}})
    folder = result_folder(tmp_path, info)
    assert folder.parent.name == "judged"
    with ResultWriter(folder, info) as writer:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert json.loads((folder / "manifest.json").read_text())["seed"] is None
        with pytest.raises(UserError, match="seed: not published"):
            open_result(folder)
        writer.close(0, seed=SEED)
    assert open_result(folder).manifest["seed"] == SEED


def test_a_seed_of_128_bits_goes_through_simulator_records_and_analysis(tmp_path: Path) -> None:
    out = ["--world", "simulator", "--out", str(tmp_path), "--slots", "20"]
    runs = [("local", SEED), ("random", SEED), ("local", SEED + 1), ("local", SEED % 2**64)]
    for policy, seed in runs:
        words = ["mini", "--policy", policy, "--seed", str(seed), *out]
        done = CliRunner().invoke(run_verb, words)
        assert done.exit_code == 0, done.output
    results = [open_result(f) for f in find_results(tmp_path)]
    born: dict[int, list[Any]] = {}
    for result in results:
        seed = result.manifest["seed"]
        born.setdefault(seed, []).append(result.table("tasks")["born_s"].to_pylist())
        trace = generate_trace(result.scenario, seed)
        assert born[seed][-1] == trace.born_s.tolist()
        assert summarise(result).generated > 0
    assert born[SEED][0] == born[SEED][1]
    assert len({str(values[0]) for values in born.values()}) == 3
    for verb, path in (("compare", tmp_path), ("report", results[0].folder)):
        ran = run_python("-m", "cli", verb, str(path))
        assert ran.returncode == 0, (verb, ran.stdout + ran.stderr)


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_judged_run_publishes_its_seed_at_the_end(tmp_path: Path) -> None:
    words = ["--judged", "--policy", POLICY, "--param", "rate_mbps=5.0", "--slots", "8"]
    with started_lab("mini", tmp_path, *words) as run:
        folder = wait_for_folder(run, tmp_path)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        running: list[bytes] = []
        while run.poll() is None:
            running += [p.read_bytes() for p in folder.iterdir() if p.suffix in (".json", ".jsonl")]
            for pid in run_processes():
                running += [read(Path(f"/proc/{pid}/{n}")) for n in ("cmdline", "environ")]
            for path in Path("/run/crowd-edge-lab").glob("*/*"):
                running.append(read(path))
            time.sleep(0.2)
    result = open_result(folder)
    seed = result.manifest["seed"]
    assert result.manifest["complete"]
    assert seed > 2**64
    last = json.loads((folder / "manifest.json").read_bytes())
    before = [text for text in running if str(seed).encode() in text]
    # The last look may have been after the end.
    assert all(b'"ended_utc": "' in text for text in before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert next(iter(last["judged"]["sha256"])).endswith("policies_of_tests.py")
    trace = generate_trace(result.scenario, seed)
    assert sorted(result.table("tasks")["born_s"].to_pylist()) == trace.born_s.tolist()


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wait_for_folder(run: subprocess.Popen[str], out: Path) -> Path:
    deadline = time.monotonic() + 30
    while not (found := find_results(out)):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found[0]
