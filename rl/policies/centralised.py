"""A coordinator that gathers everybody's status and places every task itself."""

from __future__ import annotations

import numpy as np

from model.observation import Decision, Observation, TaskView
from rl.policies.state_policy import StatePolicy, SystemState


class Centralised(StatePolicy):
    """Smallest expected delay on the status of the last gathering, with what was placed since.

    All devices are given the same state object; what the coordinator places it adds to that state,
    so that the tasks of a slot do not all go to the same unit.
    """

    def decide_with_state(
        self, observation: Observation, task: TaskView, state: SystemState
    ) -> Decision:
        """Place a task and book it."""
        units, links = self.layout.units, self.layout.links
        # Since the status was gathered, every unit went on serving.
        passed = state.age_s
        wait = (state.queue_ghz_s[units] + state.incoming_ghz_s[units]) / state.ghz[units]
        way = np.maximum(self.path_delay_s(state) - passed, 0.0)
        way[1:] += 8.0 * task.data_mb / self.profile.max_rate_mbps
        service = task.work_ghz_s / state.ghz[units]
        delay = way + np.maximum(wait - passed - way, 0.0) + service
        target = int(delay.argmin())
        state.incoming_ghz_s[units[target]] += task.work_ghz_s
        used = links[target][links[target] >= 0]
        state.backlog_mb[used] += task.data_mb
        return Decision(target, self.profile.max_rate_mbps)
