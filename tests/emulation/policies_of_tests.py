"""Policies for the tests of nodes, named by their path as a user's would be."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy


class FixedRate(Policy):
    """Everything to the own edge, at a rate of one's choice."""

    def __init__(self, rate_mbps: float = 5.0):
        self.rate_mbps = rate_mbps

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(self.profile.own_edge, self.rate_mbps)


class EverywhereInTurn(Policy):
    """Each target in turn; proves that it runs without privileges."""

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        self.turn = 0
        if os.getuid() == 0:
            raise RuntimeError("runs as root")

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        self.turn += 1
        return Decision(self.turn % len(self.profile.targets), 10.0)


class Unruly(Policy):
    """Decides on nonsense, raises, or behaves, in turn."""

    def __init__(self) -> None:
        self.turn = 0

    def begin_slot(self, observation: Observation) -> None:
        raise LookupError("no slot")

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        self.turn += 1
        if self.turn % 3 == 0:
            raise RuntimeError("no idea")
        return Decision(99 if self.turn % 3 == 1 else 0, 5.0)


class Refuses(Policy):
    """Cannot be reset."""

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        raise ValueError("wrong model file")


class GoesWhenItKnows(Policy):
    """To the own edge as soon as the status of all targets is known, and at home until then."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        queue, ghz = observation.status_queue_ghz_s, observation.status_ghz
        assert queue is not None
        assert ghz is not None
        known = np.isfinite(queue).all() and (ghz[self.profile.own_edge] == 30.0)
        return Decision(self.profile.own_edge if known else 0, 10.0)


class ImportsMuch(Policy):
    """Begins the libraries that a policy of a user's may use, on the device."""

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        import psutil
        import torch

        self.layer = torch.nn.Linear(3, 1)
        self.cores = psutil.cpu_count()
        self.sorted = np.sort(np.arange(1000)[::-1])

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        import torch

        self.layer(torch.ones(3))
        return Decision(0, 5.0)


class Survives(Policy):
    """Forks again and again, each time into a session of its own, and ignores what may be."""

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        for _ in range(3):
            if os.fork() == 0:
                with suppress(OSError):
                    os.setsid()
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                while True:
                    time.sleep(1.0)

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(0, self.profile.max_rate_mbps)


class ReadsAFile(Policy):
    """Reads a file that no parameter names."""

    def __init__(self, when: str = "reset"):
        self._when = when

    def _read(self, when: str) -> None:
        if when == self._when:
            open("/nowhere/weights.pt").close()  # noqa: PTH123 - as a user would

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        self._read("reset")

    def begin_slot(self, observation: Observation) -> None:
        self._read("begin_slot")

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        self._read("decide")
        return Decision(0, 5.0)
