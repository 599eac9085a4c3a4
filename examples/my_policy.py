"""A rule of one's own: stay while the queue here is short, else go where little is in the way.

    ./lab run mini --policy my_policy:MyPolicy --world simulator
    sudo ./lab run mini --policy my_policy:MyPolicy
    ./lab contest mini --policies my_policy:MyPolicy,own-edge,self-biased --episodes 4

are to be called from the folder of this file. The file is all there is to it: nothing to register.
"""

from __future__ import annotations

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy


class MyPolicy(Policy):
    """Every device has one object of this class, and nothing is shared between devices.

    Args:
        patience_s: delay on the device itself up to which a task stays, s. Each argument becomes a
            parameter of the command line: ``--param patience_s=0.5``.
    """

    def __init__(self, *, patience_s: float = 2.0):
        self.patience_s = patience_s

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """A run begins. ``profile`` is what the device knows of itself and of its choices.

        ``profile.targets`` names the units that a task may go to; the first is the device itself.
        ``rng`` is the only randomness to use, so that a seed repeats a run.
        """
        super().reset(profile, rng)
        self.s_per_mb = 8.0 / profile.max_rate_mbps

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """A task was born: the index of its target in ``profile.targets``, and a rate in Mbps.

        ``observation`` is all that a device can see (model/observation.py lists it): its own queue
        and frequency, its pings, and how its own tasks fared. It has no backlog of any link, and no
        queue of another unit. Arrays have a value per target; what was never observed is NaN.
        """
        rate_mbps = self.profile.max_rate_mbps
        here_s = (observation.queue_ghz_s + task.work_ghz_s) / observation.ghz
        if here_s <= self.patience_s:
            return Decision(0, rate_mbps)
        # What pings say about queues on the way, eq. (14), and bytes of our own still to be sent.
        way_s = observation.network_delay_s + observation.inflight_data_mb * self.s_per_mb
        # What the latest own task had to wait there, with its service; 0 where none has been yet.
        there_s = np.nan_to_num(observation.processing_s)
        # Whoever has several tasks of ours is busy with them, whatever it was before.
        expected_s = way_s + there_s * (1.0 + observation.inflight_tasks)
        expected_s[0] = here_s
        return Decision(int(np.argmin(expected_s)), rate_mbps)
