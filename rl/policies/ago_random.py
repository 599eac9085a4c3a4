"""AGO as the paper's prototype uses it: whether to offload is optimised, the node is drawn.

Section VI-C on its reference [38]: the decision to offload solves a stochastic network
optimisation, and a random policy determines which node gets the task. A device decides by its own
queues alone, which is all that this needs: unlike ``ago`` it can live on a device.
"""

from __future__ import annotations

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from rl.policies.estimate import seconds_per_work


class AgoRandom(Policy):
    """Keeps a task while the drift of the own queue plus a penalty is the smaller one.

    Queues in seconds of their server, at full rate x: at home (Q/F)(s/F) + v [α s/F + β R s], away
    (waiting data/x)(o/x) + v [α (o/x + s/F̄) + β R̄ s], with F̄ and R̄ of the other units' mean.

    Args:
        v: weight of the penalty, s (the paper's V).
    """

    def __init__(self, *, v: float = 1.0):
        self.v = v

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Keep what is expected of the others."""
        super().reset(profile, rng)
        self._service_s = float(seconds_per_work(profile.kinds)[1:].mean())
        self._price = float(np.mean(profile.prices[1:]))

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Home, or any other unit."""
        profile, work = self.profile, task.work_ghz_s
        s_per_mb = 8.0 / profile.max_rate_mbps
        service, transfer = work / observation.ghz, task.data_mb * s_per_mb
        home = observation.queue_ghz_s / observation.ghz * service
        home += self.v * (profile.alpha * service + profile.beta * profile.prices[0] * work)
        waiting = float(observation.inflight_data_mb[1:].sum()) * s_per_mb
        elsewhere = profile.alpha * (transfer + work * self._service_s)
        away = waiting * transfer + self.v * (elsewhere + profile.beta * self._price * work)
        others = len(profile.targets) - 1
        target = 0 if home <= away or not others else 1 + int(self.rng.integers(others))
        return Decision(target, profile.max_rate_mbps)
