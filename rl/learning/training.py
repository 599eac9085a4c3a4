"""A training run: chunk by chunk, evaluated on held-out episodes, resumed exactly.

Folder of a run: ``config.yaml``, ``log.jsonl``, TensorBoard events, ``best.npz`` (the policy that
was best on held-out episodes), ``last.npz``, ``card.json`` (how it came about) and ``state.pt``,
from which training goes on bit for bit.

Seeds: episodes of training are drawn from ``10**7 + seed * 10**6`` on, held-out ones are 5000 …;
those of contests and of tuning lie elsewhere, below 2000.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from model.errors import UserError
from model.scenario import Scenario
from model.scenario.identity import comparable
from model.scenario.yaml_reader import dump_yaml
from rl.learning.collector import Chunk, Collector
from rl.learning.devices import learning_device
from rl.learning.learner import Learner
from rl.learning.options import TrainingConfig
from rl.learning.registry import in_one_line, learner_class
from rl.learning.torch_actor import Actor, ActorShape, Question
from rl.policies import checkpoint
from rl.policies.action_selection import Chooser
from rl.policies.checkpoint import Choice, Meta

HELD_OUT = 5000
TRACE = "error.txt"
"""File of a run's folder with the traceback of what a user's own learner raised."""
Progress = Callable[[int, dict[str, float]], None]

_OWN = ("slots", "_turn", "cpu_s", "wall_s", "curve", "best")
_STATE_KEYS = {"learner", "collectors", "used", "torch", "own", "seed", "scenario"}
_IN_STATE: list[Any] = [
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (bool, np.int32, np.int64, np.float32, np.float64)),
    np.zeros(0).__reduce__()[0],
    Chunk,
    Question,
]
"""What a state file may hold beside tensors and plain data."""


def training_seeds(seed: int, skip: int) -> Iterator[int]:
    """Episodes of a training seed, without the first ``skip``."""
    return itertools.count(10**7 + seed * 10**6 + skip)


def make_learner(config: TrainingConfig, scenario: Scenario, seed: int) -> Learner:
    """A learner with fresh networks on the configured device; seeds torch's generator.

    Raises ``UserError`` for an option that leaves nothing to do, and for a GPU that is not there.
    """
    config.options.require_sense(config, scenario)
    kind = learner_class(config)
    torch.manual_seed(seed)
    device = learning_device(config.device)
    rates = scenario.decision.rates_mbps
    shape = ActorShape(
        config.trunk, config.cell, config.hidden, config.head, len(rates), config.augmented,
        config.prior,
    )  # fmt: skip
    actor = Actor(shape, rates).to(device)
    with in_one_line(config.algorithm, "from_config"):
        learner = kind.from_config(actor, config, scenario, seed)
        if learner.rollout_workers < 1:
            raise ValueError("rollout_workers must be at least 1")
    with in_one_line(config.algorithm, "state_dict"):
        learner.state_dict()  # a mistake in it shows now, not when a training is saved
    return learner


def evaluate(
    actor: Actor, scenario: Scenario, episodes: int, choices: tuple[Choice, ...]
) -> dict[Choice, float]:
    """Mean unit delay on the held-out episodes for each way to decide, s per MB.

    Episodes without data say nothing; raises ``UserError`` where no other is left.
    """
    result: dict[Choice, float] = {}
    for choice in choices:
        collector = Collector(scenario, episodes, itertools.count(HELD_OUT), "own")
        collector.collect(actor, scenario.slots, Chooser(choice, scenario.decision.rates_mbps))
        delays = collector.batch.unit_delay(scenario.duration_s)
        if not np.isfinite(delays).any():
            raise UserError(f"{scenario.name}: {episodes} held-out episodes have no task")
        result[choice] = float(np.nanmean(delays))
    return result


class Training:
    """One run of training in a folder.

    Args:
        config: what and how.
        scenario: where; its ``slots`` are an episode's length.
        seed: of networks, episodes and everything drawn.
        folder: where things are written; with a ``state.pt`` in it, training goes on from there.
        command: as typed, for the card.
    """

    def __init__(
        self,
        config: TrainingConfig,
        scenario: Scenario,
        seed: int,
        folder: Path,
        command: str = "",
    ):
        self.config, self.scenario, self.seed = config, scenario, seed
        self.folder, self.command = folder, command
        self.learner = make_learner(config, scenario, seed)
        self._used = [0] * self.learner.rollout_workers
        self.collectors = [self._collector(k) for k in range(len(self._used))]
        self.slots = self._turn = 0
        self.cpu_s = self.wall_s = 0.0
        self.curve: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}

    def _collector(self, k: int) -> Collector:
        """The collector of a player, on episodes of its own."""

        def seeds() -> Iterator[int]:
            for seed in training_seeds(self.seed, k * 10**5 + self._used[k]):
                self._used[k] += 1
                yield seed

        config = self.config
        return Collector(
            self.scenario,
            config.envs,
            seeds(),
            config.credit,
            piece=config.piece,
            random=(self.seed, k),
        )

    def run(self, progress: Progress, *, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train until the configured number of slots; returns whether that was reached.

        ``progress`` is called after every chunk with the slots so far and what to show.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        config_file = self.folder / "config.yaml"
        config_file.write_text(dump_yaml(self.config.model_dump(mode="json")))
        with (
            SummaryWriter(str(self.folder)) as board,
            (self.folder / "log.jsonl").open("a", encoding="utf-8") as log,
        ):
            if not self.curve:
                self._note(self._evaluation(), board, log)
            while self.slots < self.config.slots and not should_stop():
                row = self._chunk()
                due = self.slots // self.config.evaluate_every
                if self.slots >= self.config.slots or due > self.curve[-1]["due"]:
                    row |= self._evaluation()
                self._note(row, board, log)
                progress(self.slots, row)
        self.save()
        return self.slots >= self.config.slots

    def _chunk(self) -> dict[str, Any]:
        cpu, wall = time.process_time(), time.perf_counter()
        turn = self._turn % len(self.collectors)
        learner = self.learner
        with self._users_code("behaviour_choice"):
            chunk = self.collectors[turn].collect(
                learner.behaviour_actor(turn), self.config.chunk_slots, learner.behaviour_choice()
            )
        with self._users_code("update"):
            if self.config.anneal:
                learner.anneal(max(0.0, 1.0 - self.slots / self.config.slots))
            logged = learner.update(chunk.to(learner.actor.device), turn)
            row: dict[str, Any] = {name: float(value) for name, value in logged.items()}
        self._require_finite(self.slots + chunk.env_slots)
        self._turn += 1
        self.slots += chunk.env_slots
        self.cpu_s += time.process_time() - cpu
        self.wall_s += time.perf_counter() - wall
        data = float(chunk.question.data.sum())
        row |= {
            "slots": self.slots,
            "cpu_s": round(self.cpu_s, 3),
            "wall_s": round(self.wall_s, 3),
            "unit_delay": float(chunk.delay_s.sum()) / max(data, 1e-9),
            "offloaded": int((chunk.target > 0).sum()) / max(1, len(chunk.target)),
        }
        return row

    def _require_finite(self, slots: int) -> None:
        """Raise ``UserError`` where learning has diverged: such a policy decides on nothing."""
        for name, value in self.learner.actor.named_parameters():
            if not value.isfinite().all():
                raise UserError(
                    f"{self.folder}: {self.config.algorithm} diverged: after {slots} slots the "
                    f"parameter {name} is not finite; lower the learning rate and add --fresh"
                )

    def _users_code(self, what: str) -> AbstractContextManager[None]:
        return in_one_line(self.config.algorithm, what, self.folder / TRACE)

    def _evaluation(self) -> dict[str, Any]:
        """Evaluate, keep the policy if it is the best so far."""
        found = evaluate(
            self.learner.actor, self.scenario, self.config.evaluation_episodes, self.config.choices
        )
        choice, value = min(found.items(), key=lambda item: item[1])
        point = {
            "slots": self.slots,
            "cpu_s": round(self.cpu_s, 1),
            "due": self.slots // self.config.evaluate_every,
            "held_out": found,
        }
        self.curve.append(point)
        if not self.best or value < self.best["unit_delay"]:
            self.best = {"slots": self.slots, "choice": choice, "unit_delay": value}
            self._export("best.npz", choice, value)
        return {"slots": self.slots, **{f"held_out_{k}": v for k, v in found.items()}}

    def _export(self, name: str, choice: Choice, held_out: float) -> None:
        config = self.config
        meta = Meta(
            algorithm=config.algorithm,
            choice=choice,
            rates_mbps=self.scenario.decision.rates_mbps,
            slot_s=self.scenario.slot_s,
            cell=config.cell,
            augmented=config.augmented,
            prior=config.prior,
            scenario=self.scenario.name,
            seed=self.seed,
            slots=self.slots,
            held_out=held_out,
            notes={"command": self.command},
        )
        checkpoint.save(self.folder / name, meta, self.learner.actor.arrays())

    def _note(self, row: dict[str, Any], board: SummaryWriter, log: Any) -> None:
        log.write(json.dumps(row) + "\n")
        log.flush()
        for name, value in row.items():
            if name != "slots":
                board.add_scalar(name, value, row["slots"])

    def card(self) -> dict[str, Any]:
        """How the policy came about, for whoever finds the checkpoint."""
        return {
            "scenario": self.scenario.name,
            "algorithm": self.config.algorithm,
            "seed": self.seed,
            "device": self.learner.actor.device.type,
            "command": self.command,
            "slots": self.slots,
            "cpu_s": round(self.cpu_s, 1),
            "wall_s": round(self.wall_s, 1),
            "best": self.best,
            "curve": self.curve,
            "config": self.config.model_dump(mode="json"),
        }

    def save(self) -> None:
        """Write ``last.npz``, ``card.json`` and, in one piece, ``state.pt``."""
        latest = self.curve[-1]["held_out"]
        choice: Choice = min(self.config.choices, key=latest.__getitem__)
        self._export("last.npz", choice, latest[choice])
        (self.folder / "card.json").write_text(json.dumps(self.card(), indent=1) + "\n")
        with self._users_code("state_dict"):
            learner = self.learner.state_dict()
        state = {
            "learner": learner,
            "collectors": [c.state_dict() for c in self.collectors],
            "used": self._used,
            "torch": torch.get_rng_state(),
            "own": {k: getattr(self, k) for k in _OWN},
            "seed": self.seed,
            "scenario": self.scenario.model_dump_json(),
        }
        torch.save(state, self.folder / "state.pt.new")
        (self.folder / "state.pt.new").replace(self.folder / "state.pt")

    def resume(self) -> bool:
        """Go on from ``state.pt``, if there is one; returns whether there was.

        Raises ``UserError`` if it is of another seed or scenario, or cannot be read.
        """
        path = self.folder / "state.pt"
        if not path.is_file():
            return False
        try:
            # Nothing in the file is run: arrays and plain data only are made of it.
            with torch.serialization.safe_globals(_IN_STATE):
                state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
            first = str(error).partition("\n")[0][:200]
            raise UserError(f"{path}: cannot be read: {first}") from error
        if not isinstance(state, dict) or _STATE_KEYS - state.keys():
            raise UserError(f"{path}: cannot be read: it is no state of a training")
        theirs, ours = (
            comparable(json.loads(text))
            for text in (state["scenario"], self.scenario.model_dump_json())
        )
        if (state["seed"], theirs) != (self.seed, ours):
            raise UserError(f"{path}: of another seed or scenario; take another --out")
        for name in _OWN:
            setattr(self, name, state["own"][name])
        self._used[:] = state["used"]
        self.collectors = [self._collector(k) for k in range(len(self._used))]
        for collector, saved in zip(self.collectors, state["collectors"], strict=True):
            collector.load_state_dict(saved)
        with self._users_code("load_state_dict"):
            self.learner.load_state_dict(state["learner"])
        torch.set_rng_state(state["torch"])
        return True
