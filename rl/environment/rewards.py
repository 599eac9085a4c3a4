"""What agents pay, as it accrues: the rewards of an environment, in either world."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.aliases import FloatArray, IntArray
from model.observation import DeviceProfile
from model.workload import TaskTrace

UNDECIDED = -1


class Account:
    """Charges each agent the cost of eq. (7) while its tasks are open.

    A task has cost α (min(known, now) - born) + β R_u s by ``now``, the fee once its target is
    known. Each charge is the difference to what was charged before; so what is learned late, as
    happens with a real network, is made good by the next charge, and the sum is always exact.
    """

    def __init__(self, trace: TaskTrace, profiles: Sequence[DeviceProfile]):
        self._trace, self._agents = trace, len(profiles)
        self._alpha = profiles[0].alpha
        most = max(len(p.prices) for p in profiles)
        # The last column is for tasks without a target.
        self._fees = np.zeros((len(profiles), most + 1))
        for row, profile in zip(self._fees, profiles, strict=True):
            row[: len(profile.prices)] = profile.beta * np.asarray(profile.prices)
        self._paid = np.zeros(len(trace))
        self._open: IntArray = np.zeros(0, dtype=np.int64)

    def open(self, tasks: IntArray) -> IntArray:
        """These tasks are born; returns all that can cost something, for ``charge``."""
        self._open = np.concatenate([self._open, tasks])
        return self._open

    def charge(self, targets: IntArray, known_s: FloatArray, now_s: float) -> FloatArray:
        """What has become due by ``now_s`` of each agent, (agents,).

        ``targets`` (``UNDECIDED`` where not known) and ``known_s`` (not a time before ``now_s``
        where the result is not known) are of the tasks that ``open`` returned.
        """
        tasks, trace = self._open, self._trace
        device = trace.device[tasks]
        done = known_s < now_s
        waited = np.where(done, known_s, now_s) - trace.born_s[tasks]
        due = self._alpha * waited + self._fees[device, targets] * trace.work_ghz_s[tasks]
        delta = due - self._paid[tasks]
        self._paid[tasks] = due
        self._open = tasks[~done]
        sums = np.bincount(device, weights=delta, minlength=self._agents)
        return sums.astype(np.float64)
