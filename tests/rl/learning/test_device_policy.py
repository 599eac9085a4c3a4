"""A checkpoint on a device: the same network as in training, and clear about what does not fit."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import UserError
from model.scenario.load import load_scenario
from rl import policies
from rl.learning.collector import Collector
from rl.learning.torch_actor import Actor
from rl.policies import checkpoint as weights
from rl.policies.action_selection import Chooser
from rl.policies.checkpoint import Meta
from rl.policies.features import AGENT_COLUMNS, Candidates
from rl.policies.numpy_actor import Network
from rl.simulator.run import simulate
from tests.rl.learning.players import actor, chunk, mini

SHAPES: list[dict[str, Any]] = [
    {"cell": "gru", "augmented": True, "prior": True},
    {"cell": "gru", "augmented": False, "prior": False},
    {"cell": "lstm", "trunk": (32, 96), "augmented": False, "prior": False},
]


def meta_of(player: Actor, **changes: Any) -> Meta:
    fields: dict[str, Any] = {
        "algorithm": "m2ppo",
        "choice": "argmax",
        "rates_mbps": mini().decision.rates_mbps,
        "slot_s": 1.0,
        "cell": player.shape.cell,
        "augmented": player.shape.augmented,
        "prior": player.shape.prior,
        "scenario": "mini",
        "seed": 1,
        "slots": 0,
        "held_out": 1.0,
    }
    return Meta(**(fields | changes))


def stored(player: Actor, path: Path, **changes: Any) -> Path:
    weights.save(path, meta_of(player, **changes), player.arrays())
    return path


def network_of(player: Actor, path: Path) -> Network:
    checkpoint = weights.load(str(stored(player, path)))
    return Network(checkpoint.arrays, checkpoint.meta.cell, prior=checkpoint.meta.prior)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numpy_equals_torch(shape: dict[str, Any], tmp_path: Path) -> None:
    player = actor(**shape)
    played = chunk(player, piece=23)  # one piece
    network = network_of(player, tmp_path / "a.npz")
    with torch.no_grad():
        out, _ = player.trunk(played.agents, played.begins)
        wanted = player.score(out[played.slot, played.agent], played.question)
    begin = [s[0].numpy() for s in played.begins]
    q = played.question
    first = torch.nonzero(played.slot == 0).squeeze(1).tolist()
    assert first
    for k in first:
        agent = int(played.agent[k])
        state = begin[0][agent], begin[-1][agent]
        h = network.advance(played.agents[0, agent].numpy(), state)[0]
        one = Candidates(
            *(x[k].numpy() for x in (q.exists, q.features, q.cost, q.delay, q.toll, q.cost))
        )
        scores = network.score(network.lift(h), one, float(q.data[k]))
        close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
        exists = one.exists
        close(scores.logits, wanted.logits[k].numpy())
        close(scores.values[exists], wanted.values[k].numpy()[exists])
        for target in np.flatnonzero(exists).tolist():
            rates = wanted.rate_logits(torch.full((len(played.slot),), target))[k]
            close(scores.rate_logits(np.array(target)), rates.detach().numpy())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_trunk_on_a_device_follows_the_sequence(shape: dict[str, Any], tmp_path: Path) -> None:
    player = actor(**shape)
    network = network_of(player, tmp_path / "a.npz")
    rows = torch.rand(12, 1, len(AGENT_COLUMNS))
    with torch.no_grad():
        out, _ = player.trunk(rows, player.trunk.start(1))
    state = network.start()
    for slot in range(12):
        state = network.advance(rows[slot, 0].numpy(), state)
        np.testing.assert_allclose(state[0], out[slot, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("choice", ["argmax", "qmin", "better"])
def test_a_device_decides_as_training_did(choice: Any, tmp_path: Path) -> None:
    player = actor(noise=0.05)
    path = stored(player, tmp_path / "a.npz", choice=choice)
    make = partial(policies.create, "m2ppo", {"checkpoint": str(path)})
    run = simulate(mini(), make, 7, record=False)
    collector = Collector(mini(), 1, iter([7]), "own")
    choose = Chooser(choice, mini().decision.rates_mbps)
    targets = [collector.collect(player, 20, choose).target for _ in range(2)]
    device = run.batch.moving.task_ref[0, :, 1][: sum(map(len, targets))]
    same = (torch.cat(targets).numpy() == device).mean()
    assert same > 0.995  # ties of float32 may part a few


def test_deciding_needs_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, rl.policies, rl.policies.learned, rl.policies.checkpoint;"
        "sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_decision_takes_a_fraction_of_a_slot(tmp_path: Path) -> None:
    path = stored(actor(), tmp_path / "a.npz")
    seen: list[float] = []

    class Timed(policies.policy_class("m2ppo")):  # type: ignore[misc]
        def decide(self, *what: Any) -> Any:
            begin = time.process_time()
            decision = super().decide(*what)
            seen.append(time.process_time() - begin)
            return decision

    simulate(mini(), lambda: Timed(checkpoint=str(path)), 3, record=False)
    assert np.median(seen) < 0.1 * mini().slot_s


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    player = actor()
    other = stored(player, tmp_path / "rates.npz", rates_mbps=(1.0, 2.0, 3.0, 4.0))
    with pytest.raises(UserError, match="trained for rates_mbps"):
        simulate(mini(), partial(policies.create, "m2ppo", {"checkpoint": str(other)}), 1)
    columns = stored(player, tmp_path / "columns.npz", agent_columns=("one",))
    with pytest.raises(UserError, match="other features"):
        weights.load(str(columns))
    with pytest.raises(UserError, match="needs a checkpoint"):
        simulate(mini(), partial(policies.create, "m2ppo", {}), 1)
    bad = {"checkpoint": str(stored(player, tmp_path / "a.npz")), "choice": "worst"}
    with pytest.raises(UserError, match="choice=worst"):
        simulate(mini(), partial(policies.create, "m2ppo", bad), 1)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04broken"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        weights.load(str(path))


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FORMAT", 0)
    path = stored(actor(), tmp_path / "old.npz")
    monkeypatch.undo()
    with pytest.raises(UserError, match="format"):
        weights.load(str(path))


def test_a_missing_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    nowhere = mini().model_copy(update={"name": "nowhere"})
    with pytest.raises(UserError, match=r"\./lab train nowhere --algo m2ppo"):
        policies.completed("m2ppo", {}, nowhere)
    with pytest.raises(UserError, match="cannot be read"):
        policies.completed("m2ppo", {"checkpoint": "x"}, nowhere)
    assert policies.completed("local", {}, nowhere) == {}
    path = stored(actor(), tmp_path / "a.npz")
    assert policies.completed("m2ppo", {"checkpoint": str(path)}, nowhere) == {
        "checkpoint": str(path)
    }
    slow = load_scenario("mini", {"decision.rates_mbps": [1.0, 2.0]})
    with pytest.raises(UserError, match="trained for rates_mbps"):
        policies.completed("m2ppo", {"checkpoint": str(path)}, slow)


def test_shipped_checkpoints_fit_their_scenarios() -> None:
    for path in sorted(weights.SHIPPED.glob("*/*.npz")):
        checkpoint = weights.load(str(path))
        scenario = load_scenario(path.parent.name, {"slots": 5})
        assert checkpoint.meta.scenario == scenario.name
        assert path.name == f"{checkpoint.meta.algorithm}-seed{checkpoint.meta.seed}.npz"
        make = partial(policies.create, checkpoint.meta.algorithm, {"checkpoint": str(path)})
        simulate(scenario, make, 1, record=False)
