"""`./lab rerun`: the same again, or a line on what is no longer the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from emulation.judged import HandedIn
from emulation.options import RunOptions
from experiments import repeat
from experiments.repeat import differences, repetition_of
from model.scenario.load import load_scenario
from records.reader import Result, find_results, open_result
from records.writer import ResultWriter, RunInfo
from rl.policies.checkpoint import best_shipped

OWN = """
from model.observation import Decision
from rl.policies.base import Policy


class Mine(Policy):
    def decide(self, observation, task):
        return Decision(int(self.rng.integers(2)), 5.0)
"""


def ran(root: Path, *options: str) -> Path:
    """Simulate ten slots as typed; the result's folder."""
    before = set(find_results(root)) if root.is_dir() else set()
    typed = ["run", "mini", "--world", "simulator", "--slots", "10", "--out", str(root), *options]
    assert main(typed) == 0
    (made,) = set(find_results(root)) - before
    return made


def changed(folder: Path, **entries: Any) -> None:
    """Change entries of a manifest; those that are None go."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))


def rerun(folder: Path, out: Path, *options: str) -> int:
    return main(["rerun", str(folder), "--out", str(out), *options])


@pytest.mark.slow
def test_a_simulation_is_the_same_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ran(tmp_path, "--seed", "7", "--policy", "self-biased", "--param", "temperature_s=0.3",
                "--set", "network.e2d.rate_mbps=3.3")  # fmt: skip
    capsys.readouterr()
    assert rerun(first, tmp_path / "again", "--json") == 0
    entry = json.loads(capsys.readouterr().out)
    assert entry["same_tasks"] is True
    (second,) = find_results(tmp_path / "again")
    assert Path(entry["folder"]) == second
    a, b = open_result(first), open_result(second)
    assert a.table("tasks").num_rows > 10
    assert a.table("tasks").equals(b.table("tasks"))
    same = ("scenario", "policy", "policy_params", "seed", "world", "speedup")
    assert {k: a.manifest[k] for k in same} == {k: b.manifest[k] for k in same}
    assert b.manifest["repeats"]["run_id"] == a.manifest["run_id"]


@pytest.mark.slow
def test_other_tasks_than_before_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ran(tmp_path)
    changed(first, seed=2)
    assert rerun(first, tmp_path / "again") == 1
    assert "tasks: not the same as in" in capsys.readouterr().out


@pytest.mark.slow
def test_a_users_policy_that_was_edited_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rerun_rule.py"
    file.write_text(OWN)
    first = ran(tmp_path / "r", "--policy", "rerun_rule:Mine")
    assert rerun(first, tmp_path / "again") == 0
    assert "bit for bit" in capsys.readouterr().out
    file.write_text(OWN.replace("5.0", "6.0"))
    assert rerun(first, tmp_path / "again") == 2
    said = capsys.readouterr().err
    assert "rerun_rule.py has SHA-256" in said
    assert said.count("\n") == 1
    assert rerun(first, tmp_path / "again", "--anyway") == 0
    file.unlink()
    assert rerun(first, tmp_path / "again") == 2


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A result whose manifest says all that one of today says; it has no tasks."""
    info = RunInfo(load_scenario("mini"), "local", 3, "simulation")
    with ResultWriter(tmp_path / "w", info) as writer:
        writer.update_manifest(complete=True, ran_s=30.0)
    return writer.folder


def of(folder: Path) -> list[str]:
    return differences(repetition_of(open_result(folder)))


def test_nothing_differs_at_once(written: Path) -> None:
    assert of(written) == []


def test_other_code_and_packages_are_named_in_a_line(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = open_result(written).manifest["packages"]
    changed(written, code_sha256="0" * 64, packages={**packages, "numpy": "1.0", "torch": "0"})
    assert [one.partition(":")[0] for one in of(written)] == ["code", "numpy"]
    assert rerun(written, written / "again") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "--anyway" in said.err
    assert not (written / "again").exists()


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        ({"commit": "a", "dirty": False}, {"commit": "a", "dirty": False}, True),
        ({"commit": "a", "dirty": True}, {"commit": "a", "dirty": False}, False),
        ({"commit": "a", "dirty": False}, {"commit": "b", "dirty": False}, False),
        (None, None, False),
    ],
)
def test_a_manifest_without_a_hash_of_the_code_goes_by_its_commit(
    written: Path, monkeypatch: pytest.MonkeyPatch, then: Any, now: Any, same: bool
) -> None:
    changed(written, code_sha256=None, git=then)
    monkeypatch.setattr(repeat, "git_state", lambda: now)
    assert (of(written) == []) is same


def test_another_checkpoint_under_the_name_is_refused(tmp_path: Path, written: Path) -> None:
    shipped = best_shipped("m2ppo", load_scenario("case1"))
    assert shipped is not None
    file = tmp_path / "best.npz"
    shutil.copy(shipped, file)
    params = {"checkpoint": str(file)}
    hashes = HandedIn.of("m2ppo", params).to_dict()
    changed(written, policy="m2ppo", policy_params=params, policy_files=hashes)
    assert of(written) == []
    file.write_bytes(b"retrained")
    assert of(written)[0].startswith(f"checkpoint: {file} has SHA-256 ")
    file.unlink()
    assert of(written) == [f"policy: {file} is not there"]
    changed(written, policy_files=None)
    assert "no hash" in of(written)[0]


def test_a_run_that_a_program_decided_cannot_be_repeated(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(written, options={"stepped": True})
    assert rerun(written, written / "again") == 2
    assert "run that program again" in capsys.readouterr().err


def test_an_emulation_is_asked_for_as_it_was() -> None:
    manifest = {
        "scenario": load_scenario("mini").model_dump(mode="json"), "policy": "local", "seed": 5,
        "world": "emulation", "speedup": 2.0, "openflow": "os-ken", "without_netem": True,
        "captures": [{"link": "bs1>e1"}, {"link": "bs1>e1"}],
    }  # fmt: skip
    found = repetition_of(Result(Path("r"), manifest))
    options = RunOptions(found.scenario, found.policy, speedup=found.speedup, **found.options)
    assert (options.openflow, options.without_netem, options.pcap) == ("os-ken", True, ("bs1>e1",))
    manifest["options"] = {"pcap": ["access"], "pcap_snaplen": 64, "pcap_size_mb": 3}
    found = repetition_of(Result(Path("r"), manifest))
    assert found.options["pcap"] == ("access",)
    assert (found.options["pcap_snaplen"], found.options["pcap_size_mb"]) == (64, 3)


def test_an_id_stands_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for run_id in ("abcdef01", "abcdef02"):
        info = RunInfo(load_scenario("mini"), "local", 3, "simulation", run_id=run_id)
        with ResultWriter(tmp_path / "results" / f"20260101T000000Z-{run_id}", info) as writer:
            writer.update_manifest(code_sha256="0" * 64, complete=True)
    assert main(["rerun", "abcdef02"]) == 2
    assert "20260101T000000Z-abcdef02: code: " in capsys.readouterr().err
    assert main(["rerun", "abcdef"]) == 2
    assert "is the id of 2 results" in capsys.readouterr().err
    assert main(["rerun", "abcdef03"]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.root
@pytest.mark.ovs
@pytest.mark.slow
def test_an_emulation_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    typed = ["run", "mini", "--slots", "3", "--policy", "own-edge", "--pcap", "access",
             "--out", str(tmp_path), "--json"]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main(typed)
    assert ended.value.code == 0
    entry = json.loads(capfd.readouterr().out)
    assert entry["verdict"] in ("valid", "invalid")
    assert (entry["verdict"] == "valid") == (entry["reasons"] == [])
    assert entry["summary"]["unit_delay"] == entry["unit_delay"]
    with pytest.raises(SystemExit) as ended:
        main(["rerun", entry["folder"], "--out", str(tmp_path / "again"), "--json"])
    assert ended.value.code == 0
    again = json.loads(capfd.readouterr().out)
    assert again["same_tasks"] is None
    assert (Path(again["folder"]) / "pcap").is_dir()
    assert again["summary"]["tasks"].keys() == entry["summary"]["tasks"].keys()
