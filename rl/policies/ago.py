"""AGO: drift-plus-penalty with the operator's state, after the paper's reference [38]."""

from __future__ import annotations

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.state_policy import StatePolicy, SystemState


class Ago(StatePolicy):
    """Minimises the drift of the queues plus a penalty on the task's own cost, cf. eq. (12).

    With queues measured in seconds of their server, so that links and units compare:
    (Q_u/F_u)(s/F_u) + Σ_l (V_l/c_l)(o/c_l) + v [α(s/F_u + o/x) + β R_u s].

    Args:
        v: weight of the penalty, s (the paper's V).
    """

    def __init__(self, *, v: float = 1.0):
        self.v = v

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Keep the prices as an array."""
        super().reset(profile, rng)
        self.prices = np.asarray(profile.prices)

    def decide_with_state(
        self, observation: Observation, task: TaskView, state: SystemState
    ) -> Decision:
        """The smallest drift plus penalty, at full rate."""
        profile, units = self.profile, self.layout.units
        service = task.work_ghz_s / state.ghz[units]
        transfer = np.full(len(units), 8.0 * task.data_mb / profile.max_rate_mbps)
        transfer[0] = 0.0
        per_rate = np.zeros(len(state.rate_mbps) + 1)
        np.divide(8.0, state.rate_mbps, out=per_rate[:-1], where=state.rate_mbps > 0)
        weighted = (state.link_delay_s() * per_rate)[self.layout.links].sum(axis=1)
        drift = state.queue_ghz_s[units] / state.ghz[units] * service + weighted * task.data_mb
        fee = self.prices * task.work_ghz_s
        penalty = profile.alpha * (service + transfer) + profile.beta * fee
        target = int((drift + self.v * penalty).argmin())
        return Decision(target, profile.max_rate_mbps)
