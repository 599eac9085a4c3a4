"""`./lab train` as typed: what it leaves, how it goes on, what it says of mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.commands import finish

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set", "envs=2", "--set", "chunk_slots=10", "--set", "evaluation_episodes=2")


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return finish([sys.executable, "-m", "cli", "train", *arguments], cwd=ROOT)


def test_trains_and_goes_on(tmp_path: Path) -> None:
    done = lab("mini", "--slots", "40", *SMALL, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "mini" / "m2ppo" / "seed1"
    assert done.stdout.strip() == f"{folder}/best.npz"
    card = json.loads((folder / "card.json").read_text())
    assert card["slots"] == 40
    assert card["command"].startswith("./lab train mini --slots 40")
    again = lab("mini", "--slots", "80", *SMALL, "--out", str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert json.loads((folder / "card.json").read_text())["slots"] == 80


def test_several_seeds_in_processes(tmp_path: Path) -> None:
    done = lab("mini", "--slots", "40", "--seed", "1", "--seed", "2", "--jobs", "2", *SMALL,
               "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "seed 1:" in done.stdout
    assert (tmp_path / "mini" / "m2ppo" / "seed2" / "best.npz").is_file()


def test_mistakes_take_a_line(tmp_path: Path) -> None:
    for arguments, says in (
        (("mini", "--algo", "m3ppo"), "m3ppo"),
        (("mini", "--set", "critcs=min"), "did you mean 'critics'"),
        (("nowhere",), "nowhere"),
    ):
        done = lab(*arguments, "--out", str(tmp_path))
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
