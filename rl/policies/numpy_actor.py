"""The actor's forward pass in NumPy, for devices and for playing in training.

The trunk advances once per slot, the head scores the candidates of decisions, of one device or of
many at once; ``rl.learning.torch_actor`` is the same network in torch, for gradients, and a test
holds the two together. Shapes: K decisions, T targets, R rates, H the head's width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.aliases import Float32Array
from rl.policies.checkpoint import Arrays, Cell
from rl.policies.features import GROUPS, Candidates

MOST_COST_S = 1e3
"""The closed form's cost is cut here, s: beyond, a number only has to be large."""


class Scores(NamedTuple):
    """What the head says of K decisions.

    Attributes:
        logits: of the targets, (K, T); -inf where padded.
        values: the local Q, in units of the cost's scale, (K, T).
        rate_logits: from a target of each decision, (K,), to logits of the rates given it, (K, R).
    """

    logits: NDArray[Any]
    values: NDArray[Any]
    rate_logits: Callable[[NDArray[np.int64]], NDArray[Any]]


class Network:
    """The actor of a checkpoint, or one in training as it is now.

    Args:
        arrays: its parameters, as in checkpoints.
        cell: the recurrent layer.
        prior: whether the closed form's cost is a prior that the head corrects.
    """

    def __init__(self, arrays: Arrays, cell: Cell, *, prior: bool):
        a = arrays
        self._a, self._cell, self._prior = a, cell, prior
        self._norm = a["trunk.norm.weight"], a["trunk.norm.bias"]
        self._hidden = a["from_state.weight"].shape[1]
        # Transposed once: the products below then read memory in order.
        self._first, self._second = _linear(a, "trunk.first"), _linear(a, "trunk.second")
        self._in = _t(a["trunk.memory.weight_ih_l0"]), a["trunk.memory.bias_ih_l0"]
        self._again = _t(a["trunk.memory.weight_hh_l0"]), a["trunk.memory.bias_hh_l0"]
        self._state = _t(a["from_state.weight"]), a["from_state.bias"] + a["from_candidate.bias"]
        self._candidate = _t(a["from_candidate.weight"])
        weight, bias = _t(a["out.weight"]), a["out.bias"]
        self._target_out = np.ascontiguousarray(weight[:, :2]), bias[:2]
        self._rate_out = np.ascontiguousarray(weight[:, 2:]), bias[2:]
        self._temperature, self._scale = np.exp(a["log_temperature"]), np.exp(a["log_scale"])

    def start(self) -> tuple[Float32Array, Float32Array]:
        """The state before the first slot: (h, c); a GRU leaves c alone."""
        return np.zeros(self._hidden, np.float32), np.zeros(self._hidden, np.float32)

    def advance(
        self, row: Float32Array, state: tuple[Float32Array, Float32Array]
    ) -> tuple[Float32Array, Float32Array]:
        """The state after a slot whose agent's row (A,) is given."""
        x = row - row.mean()
        x = x / np.sqrt((x * x).mean() + 1e-5) * self._norm[0] + self._norm[1]
        for weight, bias in (self._first, self._second):
            x = np.maximum(x @ weight + bias, 0.0)
        h, c = state
        given, kept = x @ self._in[0] + self._in[1], h @ self._again[0] + self._again[1]
        n = self._hidden
        if self._cell == "gru":
            gates = _sigmoid(given[: 2 * n] + kept[: 2 * n])
            new = np.tanh(given[2 * n :] + gates[:n] * kept[2 * n :])
            return new + gates[n:] * (h - new), c
        both = given + kept
        enter, forget = _sigmoid(both[:n]), _sigmoid(both[n : 2 * n])
        c = forget * c + enter * np.tanh(both[2 * n : 3 * n])
        return _sigmoid(both[3 * n :]) * np.tanh(c), c

    def lift(self, h: Float32Array) -> Float32Array:
        """The trunk's part of the head (..., H), the same for all decisions of a slot."""
        lifted: Float32Array = h @ self._state[0] + self._state[1]
        return lifted

    def score(
        self, lifted: Float32Array, candidates: Candidates, data_mb: NDArray[Any] | float
    ) -> Scores:
        """Score the candidates of K decisions: ``lifted`` (K, H), ``data_mb`` (K, 1).

        All without K, and a number of MB, for one decision.
        """
        shape = candidates.features.shape
        rows = candidates.features.reshape(-1, shape[-1])
        flat = rows[:, : len(self._candidate)] @ self._candidate
        hidden = flat.reshape(*shape[:-1], flat.shape[-1])
        hidden += lifted[..., None, :]
        np.maximum(flat, 0.0, out=flat)
        weight, bias = self._target_out
        out = (flat @ weight + bias).reshape(*shape[:-1], 2)
        logits, values = out[..., 0], out[..., 1]
        if self._prior:
            logits = (self._prior_cost(candidates, rows) + logits) / -self._temperature
            values = values + np.minimum(candidates.cost, MOST_COST_S) / self._a["cost_scale"]

        def rate_logits(target: NDArray[np.int64]) -> NDArray[Any]:
            return self._rate_logits(hidden, candidates, data_mb, target)

        return Scores(np.where(candidates.exists, logits, -np.inf), values, rate_logits)

    def _prior_cost(self, candidates: Candidates, rows: Float32Array) -> NDArray[Any]:
        """f'_u, the links' price weighted, scaled and priced by kind if remote, s, (K, T)."""
        own_price = self._a["price"]
        tolled = candidates.cost - (1.0 - own_price) * candidates.toll_s
        kinds = (rows[:, : len(GROUPS)] @ self._a["bias"]).reshape(tolled.shape)
        remote = np.where(candidates.features[..., 0] > 0.0, np.float32(1.0), self._scale)
        cost: NDArray[Any] = np.minimum(tolled, MOST_COST_S) * remote + kinds
        return cost

    def _rate_logits(
        self,
        hidden: Float32Array,
        candidates: Candidates,
        data_mb: NDArray[Any] | float,
        target: NDArray[np.int64],
    ) -> NDArray[Any]:
        """The head at one target of each decision, and the prior of eq. (22) there, (K, R)."""
        logits: NDArray[Any] = at(hidden, target) @ self._rate_out[0] + self._rate_out[1]
        if not self._prior:
            return logits
        speed = self._a["rates_mb_s"]
        delay = np.minimum(at(candidates.delay_s, target), MOST_COST_S)
        cost = data_mb / speed + delay[..., None] * speed
        result: NDArray[Any] = logits - cost / self._temperature
        return result


def at(x: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """What stands at an index (K,) of the second axis of each of K rows; or at one of a row."""
    picked: NDArray[Any] = x[np.arange(len(index)), index] if np.ndim(index) else x[index]
    return picked


def _t(weight: Float32Array) -> Float32Array:
    return np.ascontiguousarray(weight.T)


def _linear(arrays: Arrays, name: str) -> tuple[Float32Array, Float32Array]:
    return _t(arrays[f"{name}.weight"]), arrays[f"{name}.bias"]


def _sigmoid(x: Float32Array) -> NDArray[Any]:
    result: NDArray[Any] = 1.0 / (1.0 + np.exp(-x))
    return result
