"""All-seeing sequential greedy placement: a reference for what information is worth, no bound."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from model.aliases import FloatArray
from model.observation import Decision, Observation, TaskView
from rl.policies.base import Needs
from rl.policies.state_policy import StatePolicy, SystemState


class Oracle(StatePolicy):
    """Smallest delay by the truth of this moment, bytes and work on their way included.

    It is selfish: what its choice adds to the waiting of later tasks it does not count.
    """

    needs: ClassVar[Needs] = "truth"

    def decide_with_state(
        self, observation: Observation, task: TaskView, state: SystemState
    ) -> Decision:
        """The smallest expected delay at full rate."""
        units = self.layout.units
        way = self._way_s(state, task.data_mb)
        queue = (state.queue_ghz_s + state.incoming_ghz_s)[units] / state.ghz[units]
        delay = np.maximum(queue, way) + task.work_ghz_s / state.ghz[units]
        return Decision(int(delay.argmin()), self.profile.max_rate_mbps)

    def _way_s(self, state: SystemState, data_mb: float) -> FloatArray:
        """Until the last byte is there: paced behind the queues, or after all that is ahead."""
        links = self.layout.links
        paced = self.path_delay_s(state)
        paced[1:] += 8.0 * data_mb / self.profile.max_rate_mbps
        drained = np.zeros(len(state.rate_mbps) + 1)
        ahead_mb = state.backlog_mb + state.coming_mb + data_mb
        np.divide(8.0 * ahead_mb, state.rate_mbps, out=drained[:-1], where=state.rate_mbps > 0)
        way: FloatArray = np.maximum(paced, drained[links].max(axis=1))
        return way
