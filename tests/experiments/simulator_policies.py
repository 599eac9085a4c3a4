"""Policies for the tests of simulations with processes of a user's policy."""

from __future__ import annotations

import os
import socket
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from rl.policies.state_policy import StatePolicy, SystemState


class Everything(Policy):
    """Decides by every number that it is given, by its memory, and by its random stream."""

    def __init__(self, share: float = 0.5):
        self.share = share

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        self.memory = 0.0

    def begin_slot(self, observation: Observation) -> None:
        self.memory = self.share * self.memory + _digest(observation) + float(self.rng.random())

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        self.memory += _digest(observation) + task.work_ghz_s / 7.0 + task.data_mb / 3.0
        number = abs(hash(self.memory)) % 1_000_003
        low, high = self.profile.min_rate_mbps, self.profile.max_rate_mbps
        rate = low + (high - low) * float(self.rng.random())
        return Decision(number % len(self.profile.targets), rate)


def _digest(observation: Observation) -> float:
    values: tuple[Any, ...] = astuple(observation)
    return sum(float(np.nansum(np.nan_to_num(v, posinf=1.0))) for v in values if v is not None)


class Coordinator(StatePolicy):
    """Adds what it places to the state of the slot, which others then see."""

    def decide_with_state(
        self, observation: Observation, task: TaskView, state: SystemState
    ) -> Decision:
        units = self.layout.units
        target = int((state.queue_ghz_s[units] + state.incoming_ghz_s[units]).argmin())
        state.incoming_ghz_s[units[target]] += task.work_ghz_s
        state.backlog_mb[self.layout.links[target]] += task.data_mb
        slow = float(self.path_delay_s(state).sum() + state.age_s)
        return Decision(target, max(self.profile.min_rate_mbps, 10.0 - slow % 9.0))


class Knows(Coordinator):
    """The same on the truth."""

    needs = "truth"


class Shares(Policy):
    """Would tell other devices of the same process how many there are, through its class."""

    devices = 0

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        Shares.devices += 1
        if Shares.devices > 1:
            raise RuntimeError("not alone")

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(0, self.profile.max_rate_mbps)


class NeverRoot(Policy):
    """Runs with no privilege, and sees neither the project's scenarios nor a results folder."""

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        project = Path(__file__).parents[2]
        seen = [name for name in ("scenarios", "docs", ".git") if (project / name).exists()]
        if os.geteuid() == 0 or seen:
            raise RuntimeError(f"uid {os.geteuid()} sees {seen}")

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(0, self.profile.max_rate_mbps)


class Misbehaves(Policy):
    """Dies, raises, sends rubbish, prints or decides illegally at its first task."""

    def __init__(self, how: str = "dies"):
        self.how = how

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        getattr(self, self.how)()
        return Decision(0, self.profile.max_rate_mbps)

    def dies(self) -> None:
        os._exit(3)

    def raises(self) -> None:
        raise LookupError("\x1b[31mno idea\n")

    def closes(self) -> None:
        os.closerange(3, 100)

    def sends_rubbish(self) -> None:
        _pipe().send(b"Zzz")

    def sends_half_a_decision(self) -> None:
        _pipe().send(b"A12")

    def sends_a_decision_by_state(self) -> None:
        _pipe().send(b"A" + bytes(16) + bytes(800))

    def sends_an_illegal_one(self) -> None:
        _pipe().send(b"A" + (99).to_bytes(8, "little") + bytes(8))

    def sends_facts(self) -> None:
        _pipe().send(b"I[]")

    def prints_much(self) -> None:
        for k in range(1000):
            print("\x1b[2J", k)  # noqa: T201 - what is tested

    def prints_for_ever(self) -> None:
        while True:
            print("x")  # noqa: T201 - what is tested

    def opens_a_file(self) -> None:
        with open(os.path.expanduser("~/.profile")):  # noqa: PTH111, PTH123
            return

    def opens_a_socket(self) -> None:
        socket.socket()


def _pipe() -> socket.socket:
    for descriptor in range(3, 100):
        try:
            return socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
    raise LookupError("no pipe")
