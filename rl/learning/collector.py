"""Experience: chunks of slots of many environments, decided by an actor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.aliases import Float32Array, FloatArray, IntArray
from model.scenario import Scenario
from rl.learning.credit import (
    LinkHistory,
    crossings_of,
    delays_s,
    link_externality_s,
    unit_externality_s,
)
from rl.learning.critic_input import StateMaker
from rl.learning.devices import moved
from rl.learning.options import Credit
from rl.learning.torch_actor import Actor, Question, Scores, State
from rl.policies import action_selection
from rl.policies.action_selection import Choose, Chooser, Chosen
from rl.policies.features import Candidates, FeatureMaker, observation_of
from rl.policies.numpy_actor import Network
from rl.simulator import observe
from rl.simulator.batch import Batch
from rl.simulator.decision_loop import Turn, Turns
from rl.simulator.layout import Layout


@dataclass(frozen=True, slots=True)
class Chunk:
    """L slots of E environments with N agents each; K decisions, in order of slots.

    Attributes:
        agents: inputs of the trunk, (L, E * N, columns).
        begins: the trunk's states at the start of every ``piece`` slots, one after the other,
            (1, pieces * E * N, hidden) each.
        piece: slots over which training unrolls the trunk.
        states: the critics' inputs, (L + 1, E, columns).
        fresh: whether the first slot is that of new episodes.
        slot, env, agent: where each decision was made; ``agent`` counts through all environments.
        question: what was to be decided.
        target, rate, log_prob: what was, and with which probability.
        delay_s: E, s, (K,); of tasks without a result yet: what it is going to be at least.
        charge: what each decision is charged with, s, (K,); see ``rl.learning.credit``.
        expected: the charge that the local Q expected of the policy, Σ_u π(u) Q(u), s, (K,).
    """

    agents: Tensor
    begins: State
    piece: int
    states: Tensor
    fresh: bool
    slot: Tensor
    env: Tensor
    agent: Tensor
    question: Question
    target: Tensor
    rate: Tensor
    log_prob: Tensor
    delay_s: Tensor
    charge: Tensor
    expected: Tensor

    @property
    def env_slots(self) -> int:
        """Environment slots in here: L · E."""
        return self.agents.shape[0] * self.states.shape[1]

    def to(self, device: torch.device) -> Chunk:
        """The same chunk on a device."""
        return Chunk(**{f.name: moved(getattr(self, f.name), device) for f in fields(self)})


def log_prob(scores: Scores, target: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Log π(target, rate) and the entropy of the target's distribution, (K,) each.

    A task that stays at home has no rate, whatever was drawn for it.
    """
    logs = torch.log_softmax(scores.logits, dim=-1)
    rows = torch.arange(len(target), device=target.device)
    rate_logs = torch.log_softmax(scores.rate_logits(target), dim=-1)[rows, rate]
    entropy = -(logs.exp() * logs.clamp(min=-50.0)).sum(dim=-1)
    return logs[rows, target] + torch.where(target > 0, rate_logs, 0.0), entropy


class Collector:
    """Plays episodes of a scenario with an actor, chunk by chunk.

    Args:
        scenario: what is played; ``scenario.slots`` is an episode's length.
        envs: how many environments side by side.
        seeds: of the episodes, in order; they are used up.
        credit: see ``rl.learning.credit``.
        piece: slots after which the trunk's state is noted: training unrolls it that far.
        random: of what decisions draw.
    """

    def __init__(
        self,
        scenario: Scenario,
        envs: int,
        seeds: Iterator[int],
        credit: Credit,
        *,
        piece: int = 10,
        random: int | Sequence[int] = 0,
    ):
        self.scenario, self.envs, self.credit, self.piece = scenario, envs, credit, piece
        self._seeds = seeds
        self.layout = Layout.of(scenario)
        self.features = FeatureMaker(self.layout.profiles, self.layout.targets)
        self._sample = Chooser("sample", scenario.decision.rates_mbps)
        self._random = np.random.default_rng(random)
        self.agents = len(self.layout.profiles)
        self._devices = np.tile(np.arange(self.agents), envs)
        self._turns: Turns | None = None
        self._state: State | None = None

    @property
    def batch(self) -> Batch:
        """The environments as they are now."""
        if self._turns is None:
            raise RuntimeError("nothing was collected yet")
        return self._turns.batch

    def collect(self, actor: Actor, slots: int, choose: Choose | None = None) -> Chunk:
        """The next chunk: ``slots`` slots, fewer where the episodes end before.

        ``choose``: how to decide; default: drawn from the policy.
        """
        playing = actor.on_processor()
        fresh = self._turns is None or self._turns.over
        if fresh:
            seeds = [next(self._seeds) for _ in range(self.envs)]
            batch = Batch(self.scenario, seeds, layout=self.layout)
            self._turns, self._state = Turns(batch), playing.trunk.start(self.envs * self.agents)
            self._maker = StateMaker(batch)
        assert self._turns is not None and self._state is not None  # noqa: S101, PT018
        slots = min(slots, self.scenario.slots - self.batch.slot)
        notes = _Notes()
        player = _Player(playing, playing.network(), choose or self._sample)
        with torch.no_grad():
            for slot in range(slots):
                if slot % self.piece == 0:
                    notes.begins.append(self._state)
                self._play_slot(player, slot, notes)
        notes.states.append(self._maker.look())
        return self._chunk(notes, float(playing.cost_scale), fresh=fresh)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next chunk depends on, besides the actor."""
        random = {"random": self._random.bit_generator.state}
        if self._turns is None:
            return random
        batch = self.batch
        return random | {
            "seeds": batch.seeds,
            "slot": batch.slot,
            "moving": {name: a.copy() for name, a in batch.moving._asdict().items()},
            "memory": self._state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self._turns = None
        self._random.bit_generator.state = state["random"]
        if "seeds" not in state:
            return
        batch = Batch(self.scenario, state["seeds"], layout=self.layout)
        batch.slot = state["slot"]
        batch.moving = batch.moving._replace(**state["moving"])
        self._turns, self._state = Turns(batch), state["memory"]
        self._maker = StateMaker(batch)

    def _play_slot(self, player: _Player, slot: int, notes: _Notes) -> None:
        turns, batch = self._turns, self.batch
        assert turns is not None and self._state is not None  # noqa: S101, PT018
        notes.states.append(self._maker.look())
        rows = torch.from_numpy(self._agent_rows(batch))
        out, self._state = player.actor.trunk(rows[None], self._state)
        notes.agents.append(rows)
        lifted = player.network.lift(out[0].numpy())
        while (turn := turns.next()) is not None:
            chosen = self._decide(player, slot, turn, lifted, notes)
            turns.decide(turn, chosen.target, chosen.rate_mbps)
        if slot == 0:  # so that a chunk in which no task was born has the shape of any other
            self._decide(player, slot, turns.nobody(), lifted, notes)
        self._maker.look()
        notes.link_wait.append(self._maker.link_wait_s.copy())

    def _decide(
        self, player: _Player, slot: int, turn: Turn, lifted: Float32Array, notes: _Notes
    ) -> Chosen:
        """Decide a turn and note it; ``lifted`` is what the head needs of the trunk's outputs."""
        agent = turn.env * self.agents + turn.device
        candidates = self._candidates(turn)
        scores = player.network.score(lifted[agent], candidates, turn.data_mb[:, None])
        chosen = player.choose(scores, candidates, self._random)
        logs = action_selection.log_softmax(scores.logits)
        notes.add(slot, turn, agent, candidates, chosen)
        notes.log_prob.append(action_selection.log_prob(logs, chosen))
        notes.expected.append(action_selection.expected_value(logs, scores.values))
        return chosen

    def _agent_rows(self, batch: Batch) -> NDArray[np.float32]:
        own = np.empty((self.envs, self.agents, 2))
        view = np.empty((self.envs, self.agents, observe.VIEW_ROWS, self.layout.targets))
        observe.look_all(batch.fixed, batch.moving, batch.now_s, own, view)
        seen = observation_of(view.reshape(-1, *view.shape[2:]), own.reshape(-1, 2), batch.now_s)
        return self.features.agents(self._devices, seen)

    def _candidates(self, turn: Turn) -> Candidates:
        seen = observation_of(turn.view, turn.own, self.batch.now_s)
        return self.features.candidates(
            turn.device, seen, turn.work_ghz_s[:, None], turn.data_mb[:, None]
        )

    def _chunk(self, notes: _Notes, cost_scale: float, *, fresh: bool) -> Chunk:
        decided = notes.decided()
        delay, charge = self._charges(decided, notes)
        to_tensor = torch.from_numpy

        def floats(parts: list[NDArray[Any]]) -> Tensor:
            return to_tensor(np.concatenate(parts).astype(np.float32))

        return Chunk(
            agents=torch.stack(notes.agents),
            begins=tuple(torch.cat(each, dim=1) for each in zip(*notes.begins, strict=True)),
            piece=self.piece,
            states=to_tensor(np.stack(notes.states)),
            fresh=fresh,
            slot=to_tensor(decided["slot"]),
            env=to_tensor(decided["env"]),
            agent=to_tensor(decided["agent"]),
            question=notes.question(),
            target=to_tensor(decided["target"]),
            rate=to_tensor(decided["rate"]),
            log_prob=floats(notes.log_prob),
            delay_s=to_tensor(delay.astype(np.float32)),
            charge=to_tensor(charge.astype(np.float32)),
            expected=floats(notes.expected) * cost_scale,
        )

    def _charges(
        self, decided: dict[str, IntArray], notes: _Notes
    ) -> tuple[FloatArray, FloatArray]:
        """E of each decision, and its charge."""
        batch, decision = self.batch, self.scenario.decision
        slot, env, task = decided["slot"], decided["env"], decided["task"]
        delay = delays_s(batch, env, task)
        own = decision.alpha * delay
        if self.credit == "own":
            return delay, own
        slots = len(notes.agents)
        if self.credit == "team":
            place = slot * self.envs + env
            total = np.bincount(place, own, slots * self.envs)
            count = np.bincount(place, minlength=slots * self.envs)
            return delay, (total / np.maximum(count, 1))[place]
        crossings = crossings_of(batch, slots, env, task, decided["target"])
        history = LinkHistory(np.stack(notes.link_wait), crossings)
        others = unit_externality_s(batch, env, task)
        others += link_externality_s(batch, history, env, task)
        return delay, own + decision.alpha * others


@dataclass(frozen=True, slots=True)
class _Player:
    """Who plays a chunk: an actor, its network without gradients, and how it decides."""

    actor: Actor
    network: Network
    choose: Choose


class _Notes:
    """What is written down while a chunk is played."""

    def __init__(self) -> None:
        self.agents: list[Tensor] = []
        self.begins: list[State] = []
        self.states: list[NDArray[np.float32]] = []
        self.link_wait: list[FloatArray] = []
        self.log_prob: list[NDArray[Any]] = []
        self.expected: list[NDArray[Any]] = []
        self._turns: list[tuple[int, Turn, IntArray, Candidates, Chosen]] = []

    def add(
        self, slot: int, turn: Turn, agent: IntArray, candidates: Candidates, chosen: Chosen
    ) -> None:
        """Note the decisions of one turn."""
        self._turns.append((slot, turn, agent, candidates, chosen))

    def question(self) -> Question:
        """What was to be decided, all turns one after the other."""
        each = [
            (c.features, c.exists, c.cost, c.delay_s, c.toll_s, turn.data_mb.astype(np.float32))
            for _, turn, _, c, _ in self._turns
        ]
        return Question(*(torch.from_numpy(np.concatenate(x)) for x in zip(*each, strict=True)))

    def decided(self) -> dict[str, IntArray]:
        """Indices of all decisions, (K,) each."""
        parts: dict[str, Sequence[Any]] = {
            "slot": [np.full(len(turn.env), slot) for slot, turn, *_ in self._turns],
            "env": [turn.env for _, turn, *_ in self._turns],
            "task": [turn.task for _, turn, *_ in self._turns],
            "agent": [agent for _, _, agent, *_ in self._turns],
            "target": [chosen.target for *_, chosen in self._turns],
            "rate": [chosen.rate for *_, chosen in self._turns],
        }
        return {name: np.concatenate(values).astype(np.int64) for name, values in parts.items()}
