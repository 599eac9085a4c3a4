"""Learned policies on a device: the actor's forward pass in NumPy, without torch.

The trunk advances once per slot, a decision scores the candidates; ``rl.learning.networks`` is the
same network in torch, and a test holds the two together.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model.errors import UserError
from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies import weights
from rl.policies.base import Policy
from rl.policies.features import AUGMENTED, GROUPS, Candidates, FeatureMaker
from rl.policies.weights import Arrays, Checkpoint

Floats = NDArray[np.float32]
MOST_COST_S = 1e3
"""The closed form's cost is cut here, s: beyond, a number only has to be large."""


class Network:
    """The actor of a checkpoint. Shapes: A agent columns, H hidden, T targets, R rates."""

    def __init__(self, checkpoint: Checkpoint):
        a: Arrays = checkpoint.arrays
        self.meta, self._a = checkpoint.meta, a
        self._norm = a["trunk.norm.weight"], a["trunk.norm.bias"]
        self._hidden = a["from_state.weight"].shape[1]
        # Transposed once: the products below then read memory in order.
        self._first, self._second = _linear(a, "trunk.first"), _linear(a, "trunk.second")
        self._candidate, self._out = _linear(a, "from_candidate"), _linear(a, "out")
        self._state = _linear(a, "from_state")
        self._in = _t(a["trunk.memory.weight_ih_l0"]), a["trunk.memory.bias_ih_l0"]
        self._again = _t(a["trunk.memory.weight_hh_l0"]), a["trunk.memory.bias_hh_l0"]
        self._temperature = float(np.exp(a["log_temperature"]))
        self._scale = float(np.exp(a["log_scale"]))
        self._price = float(a["price"])
        self._cost_scale = float(a["cost_scale"])

    def start(self) -> tuple[Floats, Floats]:
        """The state before the first slot: (h, c); a GRU leaves c alone."""
        return np.zeros(self._hidden, np.float32), np.zeros(self._hidden, np.float32)

    def advance(self, row: Floats, state: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """The state after a slot whose agent's row (A,) is given."""
        x = row - row.mean()
        x = x / np.sqrt((x * x).mean() + 1e-5) * self._norm[0] + self._norm[1]
        for weight, bias in (self._first, self._second):
            x = np.maximum(x @ weight + bias, 0.0)
        h, c = state
        given, kept = x @ self._in[0] + self._in[1], h @ self._again[0] + self._again[1]
        n = self._hidden
        if self.meta.cell == "gru":
            gates = _sigmoid(given[: 2 * n] + kept[: 2 * n])
            new = np.tanh(given[2 * n :] + gates[:n] * kept[2 * n :])
            return new + gates[n:] * (h - new), c
        both = given + kept
        enter, forget = _sigmoid(both[:n]), _sigmoid(both[n : 2 * n])
        c = forget * c + enter * np.tanh(both[2 * n : 3 * n])
        return _sigmoid(both[3 * n :]) * np.tanh(c), c

    def lift(self, h: Floats) -> Floats:
        """The trunk's part of the head, the same for all decisions of a slot."""
        lifted: Floats = h @ self._state[0] + self._state[1]
        return lifted

    def score(
        self, lifted: Floats, candidates: Candidates, data_mb: float
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(logits (T,), rate logits (T, R), local Q (T,)) of one decision."""
        features = (
            candidates.features if self.meta.augmented else (candidates.features[:, :AUGMENTED])
        )
        weight, bias = self._candidate
        out = np.maximum(lifted + features @ weight + bias, 0.0) @ self._out[0] + self._out[1]
        logits, values, rates = out[:, 0], out[:, 1], out[:, 2:]
        if self.meta.prior:
            cost = np.minimum(candidates.cost, MOST_COST_S)
            tolled = candidates.cost - (1.0 - self._price) * candidates.toll_s
            remote = np.where(candidates.features[:, 0] > 0.0, 1.0, self._scale)
            prior = (
                np.minimum(tolled, MOST_COST_S) * remote
                + candidates.features[:, : len(GROUPS)] @ self._a["bias"]
            )
            return (
                -(prior + logits) / self._temperature,
                rates - self._rate_cost(candidates, data_mb) / self._temperature,
                values + cost / self._cost_scale,
            )
        return logits, rates, values

    def _rate_cost(self, candidates: Candidates, data_mb: float) -> NDArray[np.float64]:
        speed = self._a["rates_mb_s"]
        delay = np.minimum(candidates.delay_s, MOST_COST_S)
        cost: NDArray[np.float64] = data_mb / speed + delay[:, None] * speed
        return cost


def _t(weight: Floats) -> Floats:
    return np.ascontiguousarray(weight.T)


def _linear(arrays: Arrays, name: str) -> tuple[Floats, Floats]:
    return _t(arrays[f"{name}.weight"]), arrays[f"{name}.bias"]


def _sigmoid(x: Floats) -> NDArray[Any]:
    result: NDArray[Any] = 1.0 / (1.0 + np.exp(-x))
    return result


class Learned(Policy):
    """A trained actor.

    Args:
        checkpoint: its file. `./lab` fills in what is shipped for the scenario where none is named.
        choice: how it decides (``rl.policies.weights.Choice``); default: the checkpoint's own way.
    """

    algorithm: ClassVar[str] = ""

    def __init__(self, *, checkpoint: str = "", choice: str = ""):
        self.checkpoint, self.choice = checkpoint, choice

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Load the checkpoint and forget everything else."""
        super().reset(profile, rng)
        if not self.checkpoint:
            raise UserError(f"{self.algorithm} needs a checkpoint: --param checkpoint=FILE")
        checkpoint = weights.load(self.checkpoint)
        checkpoint.require_fit(profile.rates_mbps, profile.slot_s)
        self.way = self.choice or checkpoint.meta.choice
        if self.way not in ("sample", "argmax", "better", "qmin"):
            raise UserError(f"choice={self.way}: there are sample, argmax, better and qmin")
        self.network = Network(checkpoint)
        self.features = FeatureMaker([profile])
        self._self = np.zeros(1, dtype=np.int64)
        self._memory = self.network.start()
        self._lifted = self.network.lift(self._memory[0])

    def begin_slot(self, observation: Observation) -> None:
        """Advance the recurrent state."""
        row = self.features.agents(self._self, _lead(observation))[0]
        self._memory = self.network.advance(row, self._memory)
        self._lifted = self.network.lift(self._memory[0])

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Score the candidates and choose."""
        work, data = np.array([[task.work_ghz_s]]), np.array([[task.data_mb]])
        found = self.features.candidates(self._self, _lead(observation), work, data)
        one = Candidates(found.features[0], found.cost[0], found.delay_s[0], found.rate_mbps[0])
        logits, rates, values = self.network.score(self._lifted, one, task.data_mb)
        if self.way == "qmin":
            target = int(values.argmin())
        elif self.way == "sample":
            target = self._draw(logits)
        else:
            target = int(logits.argmax())
        if self.way == "better":
            closed = int(one.cost.argmin())
            if values[closed] < values[target]:
                return Decision(closed, float(one.rate_mbps[closed]))
        rate = self._draw(rates[target]) if self.way == "sample" else int(rates[target].argmax())
        return Decision(target, self.profile.rates_mbps[rate])

    def _draw(self, logits: NDArray[Any]) -> int:
        return int((logits + self.rng.gumbel(size=len(logits))).argmax())


def _lead(seen: Observation) -> Observation:
    """The observation of one device with a leading axis, as ``FeatureMaker`` wants it."""
    one = (1, 1)
    return Observation(
        seen.time_s,
        np.full(one, seen.queue_ghz_s),  # type: ignore[arg-type]
        np.full(one, seen.ghz),  # type: ignore[arg-type]
        *(
            getattr(seen, name)[None]
            for name in (
                "inflight_tasks", "inflight_work_ghz_s", "inflight_data_mb", "rtt_s", "rtt_age_s",
                "idle_rtt_s", "delivery_s", "delivery_data_mb", "delivery_age_s", "processing_s",
                "processing_work_ghz_s", "processing_age_s", "results",
            )
        ),
        *(None if x is None else x[None] for x in (seen.status_queue_ghz_s, seen.status_ghz)),
    )  # fmt: skip


class M2ppo(Learned):
    """Mixed multi-agent PPO, the paper's algorithm."""

    algorithm = "m2ppo"


class Student(Learned):
    """A small actor, taught by m2ppo."""

    algorithm = "student"


class Mappo(Learned):
    """Multi-agent PPO."""

    algorithm = "mappo"


class Maa3c(Learned):
    """Asynchronous advantage actor-critic of several agents."""

    algorithm = "maa3c"


class Madqn(Learned):
    """Deep Q-learning of several agents."""

    algorithm = "madqn"
