"""Options of learners: types, ranges, nearest names, the same from everywhere; without torch."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel

from cli.train import train
from experiments.sweep.plan import make_plan
from experiments.sweep.spec import SweepFile
from model.errors import UserError
from model.scenario.load import load_scenario, parse_assignments
from rl.learning.config import load_config, options_of
from rl.learning.options import OptionError, PpoOptions, TrainingConfig, config_class
from rl.learning.registry import algorithms

ROOT = Path(__file__).resolve().parents[3]
NUMBERS = [
    (algorithm, option.key)
    for algorithm in algorithms()
    for option in options_of(load_config(algorithm, {}))
    if "number" in option.kind
]
WRONG: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, -1, -0.5, True, False, "1", "no", None, {}, 1e30,
)  # fmt: skip


def refusal(algorithm: str, key: str, value: Any) -> str:
    with pytest.raises(OptionError) as caught:
        load_config(algorithm, {key: value})
    assert caught.value.key == key
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("algorithm", "key"), NUMBERS)
def test_no_number_takes_what_is_none(algorithm: str, key: str) -> None:
    (option,) = [o for o in options_of(load_config(algorithm, {})) if o.key == key]
    for value in WRONG:
        message = refusal(algorithm, key, value)
        assert message.startswith(f"{algorithm}: {key}=")
        assert option.limits in message


@pytest.mark.parametrize("algorithm", algorithms())
def test_options_are_complete(algorithm: str) -> None:
    config = load_config(algorithm, {})
    for option in options_of(config):
        assert option.text, option.key
        assert option.limits or "number" not in option.kind, option.key
        # Every value is one that the option takes.
        assert load_config(algorithm, {option.key: option.value}) == config
    for name, field in type(config).model_fields.items():
        fixed = name in ("algorithm", "family")
        assert fixed or field.description or isinstance(field.default, BaseModel), name


@pytest.mark.parametrize("algorithm", algorithms())
def test_defaults_are_those_of_the_files(algorithm: str) -> None:
    data = yaml.safe_load((ROOT / "rl" / "learning" / f"{algorithm}.yaml").read_text("utf-8"))
    config = load_config(algorithm, {}).model_dump(mode="json")
    given = data.pop("options")
    data.pop("scenarios", None)
    assert {k: config[k] for k in data} == data
    assert {k: config["options"][k] for k in given} == given


@pytest.mark.parametrize(
    ("algorithm", "key", "value", "says"),
    [
        ("m2ppo", "options.epochs", 1e2, "options.epochs=100.0: must be a whole number from 1 to"),
        ("m2ppo", "options.epochs", 1e2, "; write 100"),
        ("m2ppo", "slots", "20_000", "; write 20000"),
        ("m2ppo", "slots", "0x10", "; write 16"),
        ("m2ppo", "options.epochs", 0, "from 1 to 1000"),
        ("m2ppo", "options.learning_rate", "1e-3", "must be a number from 1e-08 to 1"),
        ("m2ppo", "options.local_baseline", 1, "must be true or false"),
        ("m2ppo", "anneal", "no", 'anneal="no": must be true or false'),
        ("m2ppo", "credit", "price", "one of own, team, priced; did you mean 'priced'?"),
        ("m2ppo", "trunk", [64], "must be 2 whole numbers from 1 to"),
        ("m2ppo", "trunk", [64, -1], "must be 2 whole numbers from 1 to"),
        ("m2ppo", "clip", 0.2, "did you mean 'options.clip'?"),
        ("m2ppo", "learning_rat", 0.2, "did you mean 'options.learning_rate'?"),
        ("m2ppo", "options.leaning_rate", 0.2, "did you mean 'options.learning_rate'?"),
        ("m2ppo", "option.clip", 0.2, "did you mean 'options.clip'?"),
        ("m2ppo", "options.envs", 2, "did you mean 'envs'?"),
        ("m2ppo", "family", "dqn", "--algo chooses it"),
        ("m2ppo", "options", 3, "must be a section with keys"),
        ("madqn", "options.epochs", 2, "there is no option 'options.epochs'"),
        ("madqn", "critics", "min", "has no effect on madqn"),
        ("student", "anneal", True, "has no effect on student"),
        ("student", "options.teacher", 7, "must be text"),
        ("maa3c", "options.workers", 0, "from 1 to 1000"),
        ("madqn", "options.epsilon_end", 1.5, "from 0 to 1"),
    ],
)
def test_mistakes_name_option_value_and_range(
    algorithm: str, key: str, value: Any, says: str
) -> None:
    assert says in refusal(algorithm, key, value)


def test_python_may_give_what_means_the_same() -> None:
    config = load_config("m2ppo", {"options": {"clip": 1}, "trunk": (8, 8), "slots": np.int64(9)})
    assert (config.options.model_dump()["clip"], config.trunk, config.slots) == (1.0, (8, 8), 9)
    assert config.options.model_dump()["learning_rate"] == 0.003, "the other options stay"
    with pytest.raises(UserError, match="no number, text or list"):
        load_config("m2ppo", {"slots": object()})


def test_a_configuration_made_by_hand_is_checked_too() -> None:
    good = load_config("m2ppo", {}).model_dump()
    for part in ({"slots": True}, {"options": {"clip": "0.2"}}, {"envs": 2.0}):
        with pytest.raises(ValueError, match="validation error"):
            config_class(PpoOptions, "ppo").model_validate({**good, **part})


def test_what_leaves_nothing_to_learn_is_refused_before_torch_is_loaded() -> None:
    mini = load_scenario("mini")
    with pytest.raises(UserError, match="leaves none of 8"):
        load_config("m2ppo", {"chunk_slots": 8}, mini)
    with pytest.raises(UserError, match=r"nowhere\.npz"):
        load_config("student", {"options.teacher": "nowhere.npz"}, mini)
    script = "import sys, rl.learning.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def swept(tmp_path: Path, settings: str, vary: str = "{}", seeds: str = "1") -> TrainingConfig:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "train:\n  a:\n    algorithms: [m2ppo]\n    scenarios: [mini]\n"
        f"    seeds: {seeds}\n    settings: {settings}\n    vary: {vary}\n"
    )
    (cell,) = make_plan(SweepFile(path)).cells.values()
    config: TrainingConfig = cell.config  # type: ignore[union-attr]
    return config


@pytest.mark.parametrize("text", ["1e-3", "0.001", "1.0e-3", ".001"])
def test_command_line_sweep_and_python_agree(tmp_path: Path, text: str) -> None:
    typed = load_config("m2ppo", parse_assignments([f"options.learning_rate={text}"], "--set"))
    assert swept(tmp_path, f"{{options.learning_rate: {text}}}") == typed
    assert load_config("m2ppo", {"options.learning_rate": 0.001}) == typed


@pytest.mark.parametrize(
    ("settings", "vary", "seeds", "line", "says"),
    [
        ("{options.epochs: no}", "{}", "1", 6, "train.a.settings.options.epochs: m2ppo: opt"),
        ("{slots: many}", "{}", "1", 6, 'slots="many": must be a whole number from 1'),
        ("{envs: -3}", "{}", "1", 6, "envs=-3: must be a whole number from 1 to 100000"),
        ("{}", "{options.clip: [0.1, -0.1]}", "1", 7, "options.clip=-0.1: must be a number"),
        ("{option.clip: 1}", "{}", "1", 6, "did you mean 'options.clip'?"),
        ("{}", "{}", "[1.5]", 5, "must be a whole number"),
        ("{}", "{}", "[10000000000000]", 5, "must be less than or equal to 1000000000000"),
    ],
)
def test_a_plan_checks_training_options_at_their_line(
    tmp_path: Path, settings: str, vary: str, seeds: str, line: int, says: str
) -> None:
    with pytest.raises(UserError) as caught:
        swept(tmp_path, settings, vary, seeds)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/sweep.yaml:{line}: ")
    assert says in message


def test_the_verb_lists_them_and_refuses() -> None:
    listed = CliRunner().invoke(train, ["--algo", "madqn", "--options"])
    assert listed.exit_code == 0, listed.output
    for option in options_of(load_config("madqn", {})):
        assert option.key in listed.output
    assert "critics" not in listed.output
    assert "150" in CliRunner().invoke(train, ["case1", "--options"]).output, "chunk_slots of case1"
    for words, says in (
        ((), "SCENARIO"),
        (("mini", "--set", "slots=5", "--set", "slots=6"), "given twice"),
    ):
        failed = CliRunner().invoke(train, list(words))
        assert failed.exit_code != 0
        assert says in failed.output + str(failed.exception)
