"""Learners of a user's own: how they are found, what is said of mistakes, that they learn."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cli.main import main
from experiments.sweep.plan import make_plan
from experiments.sweep.spec import SweepFile
from model.errors import UserError
from rl.learning.config import load_config, options_of
from rl.learning.learner import Learner
from rl.learning.options import OptionError
from rl.learning.registry import algorithms, learner_class
from rl.learning.training import Training, make_learner
from tests.commands import finish
from tests.recipes import forget_module, write_files
from tests.rl.learning import probes
from tests.rl.learning.players import mini
from tests.rl.learning.test_probes import LEARNED, costs_of, small

ROOT = Path(__file__).resolve().parents[3]
OWN = "my_learner:Reinforce"
SMALL = ("--set", "envs=2", "--set", "chunk_slots=10", "--set", "evaluation_episodes=2",
         "--slots", "40")  # fmt: skip

BROKEN = """
from rl.learning.learner import Learner
from rl.learning.options import Options
from rl.learning.ppo import Ppo
class Silent(Learner):
    pass
class Raising(Learner):
    def update(self, chunk, worker):
        return {"one": 1 / 0}
class Wordy(Learner):
    def update(self, chunk, worker):
        return {"loss": "small"}
class Forgetful(Learner):
    saved = ("actor", "optimizer")
    def update(self, chunk, worker):
        return {}
class Unready(Learner):
    def __init__(self, actor, options, seed):
        raise RuntimeError("no luck")
    def update(self, chunk, worker):
        return {}
class Idle(Learner):
    rollout_workers = 0
    def update(self, chunk, worker):
        return {}
class Diverging(Learner):
    def update(self, chunk, worker):
        for parameter in self.actor.parameters():
            parameter.data.fill_(float("nan"))
        return {}
class Derived(Ppo):
    def update(self, chunk, worker):
        return super().update(chunk, worker) | {"of_my_own": 1}
class Nothing:
    pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's learners; the user is not root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("my_learner", "broken", "does_not_load"):
        forget_module(name, monkeypatch)
    write_files("learner.md", tmp_path)
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "does_not_load.py").write_text("import numpy\nnumpy.no_such_thing\n")
    return tmp_path


def said(algorithm: str, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What ``./lab train`` says of a mistake, which takes a line and status 2."""
    assert main(["train", "mini", "--algo", algorithm, *SMALL, *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("lab: ") for line in lines[-2:]] in ([True], [False, True])
    assert "Traceback" not in "".join(lines)
    return lines[-1]


def test_options_come_from_class_and_file() -> None:
    found = {option.key: option for option in options_of(load_config(OWN, {}))}
    assert found["options.learning_rate"].limits == "from 1e-08 to 1"
    assert found["envs"].value == 16, "of the YAML file beside it"
    assert "critics" not in found
    config = load_config(OWN, {"options.learning_rate": 0.1, "envs": 3})
    assert (config.options.model_dump()["learning_rate"], config.envs) == (0.1, 3)
    assert issubclass(learner_class(config), Learner)
    for key, value, says in (
        ("options.learning_rat", 0.1, "did you mean 'options.learning_rate'"),
        ("options.learning_rate", 2, "must be a number from 1e-08 to 1"),
        ("critics", "mean", "has no effect on my_learner:Reinforce"),
        ("family", "ppo", "--algo chooses it"),
    ):
        with pytest.raises(OptionError, match=r"^my_learner:Reinforce: ") as caught:
            load_config(OWN, {key: value})
        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "says"),
    [
        ("my_lerner:Reinforce", "there is no module my_lerner in "),
        ("my_learner:Reinforced", "my_learner has no class Reinforced; did you mean 'Reinforce'?"),
        ("my_learner:", "my_learner has no class"),
        (":Reinforce", "cannot import : ValueError"),
        ("..my_learner:Reinforce", "cannot import ..my_learner: TypeError"),
        ("does_not_load:X", "cannot import does_not_load: AttributeError"),
        ("does_not_load:X", "(does_not_load.py, line 2)"),
        ("broken:Nothing", "Nothing is not a rl.learning.learner.Learner"),
        ("broken:Options", "Options is not a rl.learning.learner.Learner"),
        ("broken:Silent", "abstract"),
        ("broken:Unready", "RuntimeError: no luck (broken.py, line 19)"),
        ("broken:Raising", "update: ZeroDivisionError: division by zero (broken.py, line 9)"),
        ("broken:Wordy", "update: ValueError: could not convert"),
        ("broken:Idle", "rollout_workers must be at least 1"),
        ("broken:Diverging", "broken:Diverging diverged: after 20 slots the parameter"),
        ("broken:Forgetful", "no attribute 'optimizer'"),
        ("reinforce", "there is no algorithm 'reinforce'"),
        ("m3ppo", "did you mean 'mappo'"),
    ],
)
def test_mistakes_take_a_line(
    algorithm: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in said(algorithm, capsys)


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("rate: float = Field(0.1, description='x')", "Mine.rate needs a range"),
        ("rate: Annotated[float, Field(ge=0)] = Field(0.1, description='x')", "needs a range"),
        ("rate: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description='x')", "a range"),
        ("rate: Share = 0.1", "Mine.rate needs a default and a description"),
        ("rate: Share = Field(description='x')", "Mine.rate needs a default and a description"),
        ("rate: list[float] = Field([], description='x')", "Mine.rate needs a type"),
        ("rate: float | None = Field(None, description='x')", "Mine.rate needs a type"),
        ("rate: Share = Field(2.0, description='x')", "less than or equal to 1"),
        ("rate: Share = Field('a', description='x')", "valid number"),
    ],
)
def test_an_option_that_could_not_be_listed_is_refused(
    folder: Path, field: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "does_not_load.py").write_text(
        "from typing import Annotated\nfrom pydantic import Field\n"
        f"from rl.learning.options import Options, Share\nclass Mine(Options):\n    {field}\n"
    )
    assert says in said("does_not_load:Mine", capsys)


def test_a_learner_of_the_labs_is_derived_from(folder: Path) -> None:
    (folder / "broken.yaml").write_text("envs: 2\nanneal: true\noptions: {clip: 0.2}\n")
    words = ["--set", "chunk_slots=10", "--set", "evaluation_episodes=2", "--slots", "40"]
    assert main(["train", "mini", "--algo", "broken:Derived", *words]) == 0
    (log,) = folder.rglob("log.jsonl")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"of_my_own", "critic_loss"} <= rows[1].keys()
    config = (log.parent / "config.yaml").read_text()
    assert "clip: 0.2\n" in config
    assert "envs: 2\n" in config


def test_the_traceback_of_a_learner_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("results/training/mini/broken-Raising/seed1/error.txt")
    assert f"traceback: {path}" in said("broken:Raising", capsys)
    assert "ZeroDivisionError" in (folder / path).read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("env: 3\n", "my_learner.yaml: my_learner:Reinforce: there is no option 'env'"),
        ("- 3\n", "my_learner.yaml: my_learner:Reinforce: must be a section"),
        ("scenarios: {mini: {env: 3}}\n", "my_learner.yaml: my_learner:Reinforce: there is no"),
        ("scenarios: 3\n", "must be a section with keys, not 3"),
        ("chunk_slots: many\n", 'my_learner:Reinforce: chunk_slots="many": must be a whole number'),
        ("family: [\n", "my_learner.yaml:2: not YAML"),
        ("\xff\n", "my_learner.yaml: is not UTF-8 text"),
    ],
)
def test_mistakes_of_the_file_take_a_line(
    folder: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my_learner.yaml").write_bytes(text.encode("latin-1"))
    assert main(["train", "mini", "--algo", OWN, "--slots", "40"]) == 2
    found = capsys.readouterr().err
    assert says in found
    assert found.count("\n") == 1


def test_an_empty_file_and_none_are_the_defaults(folder: Path) -> None:
    (folder / "my_learner.yaml").write_text("scenarios: {mini: {envs: 5}}\n")
    assert load_config(OWN, {}).envs == 32
    assert load_config(OWN, {}, mini()).envs == 5
    (folder / "my_learner.yaml").write_text("")
    assert load_config(OWN, {}).envs == 32
    (folder / "my_learner.yaml").unlink()
    assert load_config(OWN, {}).envs == 32


def test_root_imports_no_code_of_a_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (folder / "marking.py").write_text("open('mark', 'w')\n")
    assert "root imports no code from a user's folder" in said("marking:Any", capsys)
    assert not (folder / "mark").exists()
    assert str(folder) not in sys.path


def test_a_namesake_in_the_folder_hides_no_library(folder: Path) -> None:
    (folder / "torch.py").write_text("raise RuntimeError('hidden')\n")
    script = (
        "import os; os.geteuid = lambda: 4242\n"
        "from rl.learning.config import load_config\n"
        f"load_config({OWN!r}, {{}})\n"
        "import sys; sys.exit(not hasattr(sys.modules['torch'], 'nn'))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0


def test_the_names_are_read_without_torch() -> None:
    script = "import sys, rl.learning.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
    assert algorithms() == ("m2ppo", "maa3c", "madqn", "mappo", "student")


def test_a_configuration_goes_to_another_process_and_back() -> None:
    for algorithm in ("m2ppo", OWN):
        config = load_config(algorithm, {"options.learning_rate": 1 / 3})
        again = pickle.loads(pickle.dumps(config))  # noqa: S301 - made in this line
        assert again == config
        assert type(again) is type(config)


@pytest.mark.slow
def test_several_seeds_in_processes(folder: Path) -> None:
    not_root = "import os; os.geteuid = lambda: 4242\n"
    learner = folder / "my_learner.py"
    learner.write_text(
        learner.read_text().replace("import torch\n", f"{not_root}import torch\n", 1)
    )
    script = f"{not_root}import sys; from cli.main import main; sys.exit(main())"
    words = ["train", "mini", "--algo", OWN, *SMALL, "--seed", "1", "--seed", "2", "--jobs", "2"]
    done = finish([sys.executable, "-P", "-c", script, *words], cwd=folder,
                  env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(folder.rglob("best.npz"))) == 2


def test_a_sweep_trains_the_labs_own(folder: Path) -> None:
    sweep = folder / "sweep.yaml"
    sweep.write_text(
        f"train:\n  a:\n    algorithms: [m2ppo, '{OWN}']\n    scenarios: [mini]\n    seeds: 1\n"
    )
    with pytest.raises(UserError, match=r"sweep.yaml:3: train.a.algorithms\[?.*your own"):
        make_plan(SweepFile(sweep))


def test_what_the_page_shows_learns() -> None:
    learner = make_learner(load_config(OWN, {"options.learning_rate": 3e-3}), mini(), 0)
    assert costs_of(learner, probes.selfish, "argmax", 200)[-1] < LEARNED


def test_what_the_page_shows_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def training(name: str) -> Training:
        return Training(small(OWN), mini(), 3, tmp_path / name)

    whole, part, chunks = training("whole"), training("part"), iter(range(9))
    whole.run(lambda *_: None)
    assert not part.run(lambda *_: None, should_stop=lambda: next(chunks) > 1)
    torch.manual_seed(99)
    again = training("part")
    assert again.resume()
    assert again.run(lambda *_: None)
    states: list[Any] = [t.learner.actor.state_dict() for t in (whole, again)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
