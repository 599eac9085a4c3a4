"""Options that a world, or another option, gives no meaning to are refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import main
from emulation.options import emulation_only
from experiments.sweep.plan import make_plan
from experiments.sweep.spec import SweepFile
from model.errors import ScenarioError, UserError

SIMULATED = ["run", "mini", "--world", "simulator", "--slots", "1"]


@pytest.mark.parametrize(
    "words",
    [
        ["--pcap", "all"], ["--speedup", "4"], ["--without-netem"], ["--strict"],
        ["--openflow", "os-ken"], ["--pcap-snaplen", "64"], ["--pcap-size-mb", "5"],
    ],
)  # fmt: skip
def test_the_simulator_refuses_options_of_the_emulation(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*SIMULATED, "--out", str(tmp_path), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lab: {words[0]}: no meaning with --world simulator")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_every_option_of_the_emulation_is_known() -> None:
    assert {"pcap", "speedup", "openflow", "strict", "without_netem"} <= emulation_only()
    assert not {"scenario", "seed", "policy", "slots", "out"} & emulation_only()


@pytest.mark.parametrize("words", [["--speedup", "2"], ["--policy", "local"], ["--slots", "9"]])
def test_a_comparison_of_old_runs_refuses_options_of_new_ones(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["gap", "--from", str(tmp_path), *words]) == 2
    assert f"{words[0]}: no meaning with --from" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["speedup: 2", "without_netem: true"])
def test_a_sweep_in_the_simulator_refuses_keys_of_the_emulation(key: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "run:\n  a:\n    scenarios: [mini]\n    policies: [local]\n    seeds: 1\n"
    path.write_text(f"{text}    {key}\n")
    with pytest.raises(ScenarioError, match=f"mine.yaml:6: run.a.{key.partition(':')[0]}: no mean"):
        SweepFile(path)
    path.write_text(f"{text}    worlds: [emulation, simulator]\n    {key}\n")
    SweepFile(path)


def test_files_of_a_policy_are_meant_from_the_callers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emulation.sandbox.policy_files import with_absolute_files

    monkeypatch.chdir(tmp_path)
    Path("w.pt").touch()
    Path("folder").mkdir()
    given: dict[str, bool | int | float | str] = {
        "weights": "w.pt",
        "mode": "folder",
        "word": "fast",
        "x": 0.5,
    }
    assert with_absolute_files("mine:Mine", given) == {**given, "weights": str(tmp_path / "w.pt")}
    with pytest.raises(UserError, match=r"weights=v.pt: there is no file .*/v.pt"):
        with_absolute_files("mine:Mine", {"weights": "v.pt"})


@pytest.mark.root
def test_files_that_devices_cannot_read_are_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emulation.sandbox.policy_files import hidden_folders, require_files_of_policy

    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("mine.py").touch()
    weights = tmp_path / "w.pt"
    weights.touch(0o644)
    params: dict[str, bool | int | float | str] = {"weights": str(weights)}
    hidden = hidden_folders(tmp_path / "results", "mini")
    require_files_of_policy("mine:Mine", params, hidden)
    weights.chmod(0o600)
    with pytest.raises(UserError, match=r"w\.pt cannot be read by uid \d+, as which policies run"):
        require_files_of_policy("mine:Mine", params, hidden)
    below = tmp_path / "results" / "w.pt"
    below.parent.mkdir()
    below.touch(0o644)
    with pytest.raises(UserError, match=r"lies in .*/results, which devices do not see"):
        require_files_of_policy("mine:Mine", {"weights": str(below)}, hidden)
    Path("mine.py").chmod(0o600)
    require_files_of_policy("mine:Mine", {}, hidden)


@pytest.mark.parametrize("words", [["--pcap-snaplen", "64"], ["--pcap-size-mb", "5"]])
def test_options_of_captures_mean_nothing_without_one(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["run", "mini", "--out", str(tmp_path), *words]) == 2
    assert f"{words[0]}: no meaning without --pcap" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_scenario_with_loss_is_refused_before_it_is_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = ["--set", "network.e2d.loss_percent=2"]
    assert main.main([*SIMULATED, "--out", str(tmp_path), *loss]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lab: mini: network.e2d.loss_percent=2: no meaning in the simulator")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


SWEEP = "run:\n  a:\n    scenarios: [mini]\n    seeds: 1\n"


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("{policy: local, checkpoints: best}", "for local, which is no learner"),
        ("{policy: 'tests.experiments.sweep_policies:Slow', checkpoints: best}", "for tests."),
        ("{policy: m2ppo, checkpoints: best, params: {checkpoint: x.npz}}", "beside its checkp"),
    ],
)
def test_checkpoints_that_a_sweep_would_not_use(policy: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{SWEEP}    policies:\n      - {policy}\n")
    with pytest.raises(ScenarioError, match=rf"mine.yaml:6: .*checkpoints: no meaning {why}"):
        make_plan(SweepFile(path))


def test_a_sweep_in_the_simulator_refuses_loss(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = f"{SWEEP}    policies: [local]\n    set: {{network.access.loss_percent: 1}}\n"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r"mine.yaml:3: .*access.loss_percent=1: no meaning"):
        make_plan(SweepFile(path))
    path.write_text(f"{text}    worlds: [emulation]\n")
    make_plan(SweepFile(path))
