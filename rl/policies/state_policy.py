"""Policies that see more than a device can: the operator's state, or the truth.

They are references for what information is worth, not candidates for a device. ``decide`` of such
a policy is never called; a world that can provide the state calls ``decide_with_state``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from model.aliases import FloatArray, IntArray
from model.observation import Decision, Observation, TaskView
from rl.policies.base import Needs, Policy


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a device's targets are in the arrays of the state.

    Attributes:
        units: index of each target's unit, shape (targets,), in ``profile.targets`` order.
        links: links on the path to each target, as indices (targets, hops), padded with -1.
    """

    units: IntArray
    links: IntArray


@dataclass(frozen=True, slots=True)
class SystemState:
    """S = {Q, V, F} as the operator has it. The arrays may be added to: a coordinator does so.

    Attributes:
        time_s: now.
        age_s: how old the arrays are, s; 0 for the truth.
        queue_ghz_s, ghz: Q_u and F_u, shape (units,).
        incoming_ghz_s: work on its way to each unit, shape (units,); known to the truth only, else
            zeros.
        backlog_mb, rate_mbps: V_l and c_l, shape (links,).
        coming_mb: bytes under way that have yet to enter each link, shape (links,); known to the
            truth only (and while no cable fails), else zeros.
    """

    time_s: float
    age_s: float
    queue_ghz_s: FloatArray
    ghz: FloatArray
    incoming_ghz_s: FloatArray
    backlog_mb: FloatArray
    rate_mbps: FloatArray
    coming_mb: FloatArray

    def link_delay_s(self) -> FloatArray:
        """V_l / c_l, s, shape (links + 1,); the last entry is 0, for the padding of paths."""
        delay = np.zeros(len(self.rate_mbps) + 1)
        np.divide(self.backlog_mb * 8.0, self.rate_mbps, out=delay[:-1], where=self.rate_mbps > 0)
        return delay


class StatePolicy(Policy):
    """Base of the policies that decide on the state."""

    needs: ClassVar[Needs] = "state"

    def attach(self, layout: Layout) -> None:
        """Called after ``reset`` and whenever paths change."""
        self.layout = layout

    def decide_with_state(
        self, observation: Observation, task: TaskView, state: SystemState
    ) -> Decision:
        """Where a task goes and at what rate, knowing the state."""
        raise NotImplementedError

    def path_delay_s(self, state: SystemState) -> FloatArray:
        """D_i of eq. (14) from V_l and c_l, for each target, s."""
        delay: FloatArray = state.link_delay_s()[self.layout.links].sum(axis=1)
        return delay
