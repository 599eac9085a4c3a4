"""Learners on worlds whose best return is known, and training that goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import UserError
from model.scenario.load import load_scenario
from rl.learning.config import load_config
from rl.learning.learner import Learner
from rl.learning.registry import algorithms
from rl.learning.training import Training, make_learner
from rl.policies import checkpoint
from rl.policies.action_selection import Chooser
from tests.rl.learning import probes
from tests.rl.learning.players import actor, mini
from tests.rl.learning.test_device_policy import stored

RATES = (2.5, 5.0, 7.5, 10.0)
LEARNED, LOOK_EVERY = 0.05, 20
"""A cost, of 0 to 1, that only a few wrong decisions make; and updates between two looks at it."""
PPO = {
    "options.learning_rate": 3e-3,
    "options.minibatches": 1,
    "options.entropy": 0.0,
    "options.discount": 0.0,
    "options.settle": 0,
}


def cost(learner: Learner, charge: probes.Charge, choice: Any) -> float:
    played = probes.play(learner.actor, charge, Chooser(choice, RATES))
    return 2.0 * float(played.charge.mean())  # half of the decisions are free


def learn(learner: Learner, charge: probes.Charge, steps: int) -> Iterator[None]:
    """Update as often as ``steps`` says, and stop after every twentieth for a look."""
    torch.manual_seed(0)
    choose = learner.behaviour_choice() or Chooser("sample", RATES)
    workers = learner.rollout_workers
    for step in range(steps):
        turn = step % workers
        learner.update(probes.play(learner.behaviour_actor(turn), charge, choose), turn)
        if (step + 1) % LOOK_EVERY == 0:
            yield


def costs_of(learner: Learner, charge: probes.Charge, choice: Any, steps: int) -> list[float]:
    """What a learner's decisions cost while it learns.

    Ends at ``steps``, or as soon as three looks in a row found hardly any cost: it has learned what
    there is to learn, and has kept it for 40 updates.
    """
    costs: list[float] = []
    for _ in learn(learner, charge, steps):
        costs.append(cost(learner, charge, choice))
        if max([1.0, 1.0, *costs][-3:]) < LEARNED:
            break
    return costs


def made(algorithm: str, **settings: Any) -> Learner:
    return make_learner(load_config(algorithm, settings), mini(), 0)


@pytest.mark.parametrize("charge", [probes.selfish, probes.memory], ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    ("algorithm", "settings", "choice"),
    [
        ("m2ppo", PPO, "argmax"),
        ("m2ppo", PPO, "qmin"),
        ("mappo", PPO, "argmax"),
        (
            "maa3c",
            {"options.learning_rate": 3e-3, "options.entropy": 0.0, "options.discount": 0.0},
            "argmax",
        ),
        (
            "madqn",
            {
                "options.learning_rate": 3e-3,
                "options.discount": 0.5,
                "options.epsilon_slots": 5000,
                "options.target_every": 20,
            },
            "qmin",
        ),
    ],
    ids=str,
)
def test_learns_what_an_agent_can_learn_alone(
    charge: probes.Charge, algorithm: str, settings: dict[str, Any], choice: str
) -> None:
    learner = made(algorithm, **settings)
    assert costs_of(learner, charge, choice, 200)[-1] < LEARNED


@pytest.mark.parametrize("credit", ["team"])
@pytest.mark.parametrize("algorithm", ["m2ppo", "mappo"])
def test_learns_to_part(algorithm: str, credit: str) -> None:
    learner = made(algorithm, credit=credit, **PPO)
    assert costs_of(learner, probes.coordination, "argmax", 150)[-1] < LEARNED


def test_a_wrong_sign_would_be_noticed() -> None:
    learner = made("mappo", **PPO)
    for _ in learn(learner, lambda cue, target: -probes.selfish(cue, target), 60):
        pass
    assert cost(learner, probes.selfish, "argmax") > 0.95


def small(algorithm: str, slots: int = 240) -> Any:
    settings: dict[str, Any] = {"envs": 3, "chunk_slots": 15, "slots": slots}
    settings |= {"evaluate_every": 120, "evaluation_episodes": 2}
    return load_config(algorithm, settings)


@pytest.mark.parametrize("algorithm", [a for a in algorithms() if a != "student"])
def test_training_goes_on_bit_for_bit(algorithm: str, tmp_path: Path) -> None:
    """Stopped in the middle of an episode, saved, and resumed by another object."""
    whole = Training(small(algorithm), mini(), 3, tmp_path / "whole")
    whole.run(lambda *_: None)
    chunks = 0

    def stop() -> bool:
        nonlocal chunks
        chunks += 1
        return chunks > 2

    part = Training(small(algorithm), mini(), 3, tmp_path / "part")
    assert not part.run(lambda *_: None, should_stop=stop)
    torch.manual_seed(99)
    again = Training(small(algorithm), mini(), 3, tmp_path / "part")
    assert again.resume()
    assert 0 < again.slots < 240
    assert again.run(lambda *_: None)
    for name, value in whole.learner.actor.state_dict().items():
        assert torch.equal(value, again.learner.actor.state_dict()[name]), name
    assert [p["held_out"] for p in again.curve] == [p["held_out"] for p in whole.curve]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("algorithm", algorithms())
def test_chunks_with_hardly_a_task_do_no_harm(algorithm: str, tmp_path: Path) -> None:
    """Most have none, many have one: means and deviations of them would be no numbers."""
    sparse = load_scenario("mini", {"slots": 40, "workload.tasks_per_epoch": 0.1})
    settings: dict[str, Any] = {
        "envs": 2,
        "chunk_slots": 10,
        "slots": 600,
        "evaluation_episodes": 9,
    }
    if algorithm == "student":
        settings["options.teacher"] = str(stored(actor(1), tmp_path / "teacher.npz"))
    training = Training(load_config(algorithm, settings), sparse, 1, tmp_path)
    rows: list[dict[str, float]] = []
    training.run(lambda _, row: rows.append(row))
    assert min(row["unit_delay"] for row in rows) == 0.0 < max(row["unit_delay"] for row in rows)
    assert np.isfinite([value for row in rows for value in row.values()]).all()
    for name, value in training.learner.actor.arrays().items():
        assert np.isfinite(value).all(), name


def test_a_world_without_tasks_is_told(tmp_path: Path) -> None:
    empty = load_scenario("mini", {"slots": 10, "workload.tasks_per_epoch": 0.00001})
    with pytest.raises(UserError, match="held-out episodes have no task"):
        Training(small("m2ppo"), empty, 1, tmp_path).run(lambda *_: None)


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    training = Training(small("m2ppo"), mini(), 1, tmp_path, "./lab train mini")
    training.run(lambda *_: None)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.yaml", "log.jsonl", "best.npz", "last.npz", "card.json", "state.pt"} <= names
    assert any(name.startswith("events") for name in names)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["command"] == "./lab train mini"
    assert card["best"]["unit_delay"] == min(min(p["held_out"].values()) for p in card["curve"])
    assert checkpoint.load(str(tmp_path / "best.npz")).meta.held_out == card["best"]["unit_delay"]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [r["slots"] for r in rows] == sorted(r["slots"] for r in rows)


def test_seeds_of_training_meet_no_others() -> None:
    training = Training(small("m2ppo"), mini(), 2, Path("unused"))
    training._chunk()
    seeds = training.collectors[0].batch.seeds
    assert seeds == (12_000_000, 12_000_001, 12_000_002)


class Bait:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path):
        self._mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self._mark,))


def test_a_state_from_before_a_key_existed_is_resumed(tmp_path: Path) -> None:
    Training(small("m2ppo", 60), mini(), 1, tmp_path).run(lambda *_: None)
    path = tmp_path / "state.pt"
    state = torch.load(path, weights_only=False)
    scenario = json.loads(state["scenario"])
    del scenario["decision"]["limit_slots"]
    torch.save({**state, "scenario": json.dumps(scenario)}, path)
    assert Training(small("m2ppo", 60), mini(), 1, tmp_path).resume()
    scenario["decision"]["alpha"] = 0.5
    torch.save({**state, "scenario": json.dumps(scenario)}, path)
    with pytest.raises(UserError, match="another seed or scenario"):
        Training(small("m2ppo", 60), mini(), 1, tmp_path).resume()


def test_resuming_another_run_is_refused(tmp_path: Path) -> None:
    Training(small("m2ppo", 60), mini(), 1, tmp_path).run(lambda *_: None)
    with pytest.raises(UserError, match="another seed"):
        Training(small("m2ppo"), mini(), 2, tmp_path).resume()
    mark = tmp_path / "mark"
    torch.save(Bait(mark), tmp_path / "bait.pt")
    bait = (tmp_path / "bait.pt").read_bytes()
    torch.save([1, 2], tmp_path / "list.pt")
    for content in (b"nothing", bait, (tmp_path / "list.pt").read_bytes()):
        (tmp_path / "state.pt").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            Training(small("m2ppo"), mini(), 1, tmp_path).resume()
    assert not mark.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("envs", -3, "envs"),
        ("credits", "own", "did you mean 'credit'"),
        ("options.clop", 0.1, "options.clop"),
        ("credit", "free", "credit"),
        ("chunk_slots", 8, "leaves none of 8"),
    ],
)
def test_wrong_settings_are_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_learner(load_config("m2ppo", {key: value}), mini(), 0)


def test_settings_for_a_case_hold_for_its_variants_and_yield_to_the_users() -> None:
    case1, default = load_scenario("case1"), load_config("m2ppo", {})
    case = load_config("m2ppo", {}, case1)
    assert case != default
    assert load_config("m2ppo", {}, load_scenario("case1-burst")) == case
    assert load_config("m2ppo", {"slots": 7}, case1).slots == 7
    assert load_config("m2ppo", {}, load_scenario("mini")) == default


def test_a_student_becomes_like_its_teacher(tmp_path: Path) -> None:
    teacher = Training(small("m2ppo", 45), mini(), 1, tmp_path / "teacher")
    with torch.no_grad():  # a teacher with an opinion: go to the own edge
        teacher.learner.actor.bias[2] -= 3.0
    teacher.run(lambda *_: None)
    settings = {"options.teacher": str(tmp_path / "teacher" / "last.npz"), "envs": 4, "slots": 900}
    student = Training(
        load_config("student", {**settings, "chunk_slots": 15, "evaluation_episodes": 2}),
        mini(), 1, tmp_path / "student",
    )  # fmt: skip
    student.run(lambda *_: None)
    rows = (tmp_path / "student" / "log.jsonl").read_text().splitlines()
    losses = [json.loads(r)["distillation_loss"] for r in rows if "distillation_loss" in r]
    assert losses[-1] < 0.5 * losses[0]
    sizes = [sum(p.numel() for p in t.learner.actor.parameters()) for t in (student, teacher)]
    assert sizes[0] <= 0.1 * sizes[1]
