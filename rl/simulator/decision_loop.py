"""Many environments decided task by task: what ``rl.simulator.run`` does for one, vectorised.

Every environment is brought to its own next birth, the observations of that moment are handed out
together, and the decisions carried out together. So a learner meets exactly what a policy object
meets in ``simulate``, without a Python object per device.
"""

# Compiled by numba, which takes types from the arrays; annotations would be ignored.
# ruff: noqa: ANN001, ANN202
# mypy: allow-untyped-defs, allow-untyped-decorators

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.aliases import FloatArray
from rl.simulator import kernel, observe
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch
from rl.simulator.primitives import compiled


@compiled
def _next_births(f, m, end, first, task, own, view):
    """Bring every environment from ``first`` on to its next birth before ``end``, or to ``end``.

    ``task`` (E,) becomes the task's number, or -1; ``own`` and ``view`` what its device sees.
    Returns the number of the environment whose heap must grow first, or E.
    """
    for e in range(first, m.cursor.shape[0]):
        k = m.cursor[e]
        task[e] = -1
        if k < m.task.shape[1] and m.task[e, k, ix.BORN] < end:
            now = m.task[e, k, ix.BORN]
            if not kernel.advance(f, m, e, now):
                return e
            task[e] = k
            observe.look(f, m, e, m.task_ref[e, k, ix.DEVICE], now, own[e], view[e])
        elif not kernel.advance(f, m, e, end):
            return e
    return m.cursor.shape[0]


@compiled
def _dispatch_all(f, m, env, task, target, rate_mbps):
    """Carry out decisions; returns the position of the first one that is not legal, or K."""
    for k in range(env.shape[0]):
        if not kernel.dispatch(f, m, env[k], task[k], target[k], rate_mbps[k]):
            return k
        m.cursor[env[k]] = task[k] + 1
    return env.shape[0]


@dataclass(frozen=True, slots=True)
class Turn:
    """Decisions that are due, at most one an environment; K of them.

    Attributes:
        env, task, device: indices, (K,).
        own: Q in GHz·s and F in GHz of the device, (K, 2).
        view: its observation as in ``rl.simulator.observe``, (K, 13, T).
        work_ghz_s, data_mb: the task's s and o, (K,).
    """

    env: NDArray[np.int64]
    task: NDArray[np.int64]
    device: NDArray[np.int64]
    own: FloatArray
    view: FloatArray
    work_ghz_s: FloatArray
    data_mb: FloatArray


class Turns:
    """Plays the slots of a batch turn by turn.

        turns = Turns(batch)
        while not turns.over:
            while (turn := turns.next()) is not None:
                turns.decide(turn, targets, rates_mbps)

    ``next`` returns None when a slot is over, pings of the next one sent.
    """

    def __init__(self, batch: Batch):
        self.batch = batch
        envs, targets = len(batch.seeds), batch.layout.targets
        self._task = np.empty(envs, dtype=np.int64)
        self._own = np.empty((envs, 2))
        self._view = np.empty((envs, observe.VIEW_ROWS, targets))

    @property
    def over(self) -> bool:
        """Whether the scenario's last slot has passed."""
        return self.batch.slot >= self.batch.scenario.slots

    def next(self) -> Turn | None:
        """The next decisions of the slot that is under way; None when it has ended."""
        batch, done = self.batch, 0
        end = (batch.slot + 1) * batch.scenario.slot_s
        while done < len(batch.seeds):
            done = _next_births(
                batch.fixed, batch.moving, end, done, self._task, self._own, self._view
            )
            if done < len(batch.seeds):
                batch.grow()
        env = np.flatnonzero(self._task >= 0)
        if not len(env):
            batch.end_slot()
            return None
        task = self._task[env]
        rows = batch.moving.task[env, task]
        device = batch.moving.task_ref[env, task, ix.DEVICE].astype(np.int64)
        return Turn(
            env, task, device, self._own[env], self._view[env], rows[:, ix.WORK], rows[:, ix.DATA]
        )

    def nobody(self) -> Turn:
        """A turn without decisions: what they would look like."""
        none = np.empty(0, dtype=np.int64)
        return Turn(none, none, none, self._own[:0], self._view[:0], np.empty(0), np.empty(0))

    def decide(self, turn: Turn, targets: NDArray[np.int64], rates_mbps: FloatArray) -> None:
        """Carry out the decisions of a turn: (K,) indices of targets and rates in Mbps.

        Raises ``ValueError`` if there are not K of each, or if one is not legal.
        """
        if not len(targets) == len(rates_mbps) == len(turn.task):
            raise ValueError(
                f"{len(turn.task)} decisions are due; there are {len(targets)} targets and "
                f"{len(rates_mbps)} rates"
            )
        batch = self.batch
        k = _dispatch_all(batch.fixed, batch.moving, turn.env, turn.task, targets, rates_mbps)
        if k < len(turn.task):
            raise batch.illegal(turn.env[k], turn.task[k], targets[k], rates_mbps[k])
