"""The hostile policies themselves: what they find is told in the run's log."""

from __future__ import annotations

import json
import os
import socket
import stat

import numpy as np

from emulation.wire import Frame, Kind, encode
from model.addressing import TASK_PORT
from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from tests.emulation.attacks import files, network, objects  # noqa: F401 - they enter their attacks
from tests.emulation.attacks.base import ATTACKS, PREFIX, Report, Scene, carry_out

_FIRST_SLOT = 1


class Hostile(Policy):
    """One attack after another, a slot each; the devices share them out."""

    def __init__(self, project: str = "", out: str = "", numbers: str = ""):
        self._project, self._out = project, out
        self._numbers = _numbers(numbers)
        self._slot = -1

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        self.rng = rng
        devices = sorted(
            t
            for t, k in zip(profile.targets, profile.kinds, strict=True)
            if k in ("self", "device")
        )
        self._mine = sorted(ATTACKS)[devices.index(profile.name) :: len(devices)]
        self._own = self._numbers.pop(profile.name)
        self._foreign = frozenset().union(*self._numbers.values()) - self._own

    def begin_slot(self, observation: Observation) -> None:
        self._slot += 1
        turn = self._slot - _FIRST_SLOT
        if not 0 <= turn < len(self._mine):
            return
        name = self._mine[turn]
        scene = Scene(
            self.profile, observation, self, self._project, self._out, self._own, self._foreign
        )
        worked, how = carry_out(name, scene)
        raise Report(json.dumps([PREFIX, name, worked, how[:600]]))

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(self.profile.own_edge, self.profile.max_rate_mbps)


def _numbers(text: str) -> dict[str, frozenset[int]]:
    """``name=1,2;…`` taken apart; '' stands for what nobody may know."""
    words = (word.partition("=") for word in text.split(";"))
    return {name: frozenset(map(int, numbers.split(","))) for name, _, numbers in words}


class _Liar(Policy):
    """One of the devices writes into its channel to the orchestrator by itself."""

    who = "c1d1"

    def begin_slot(self, observation: Observation) -> None:
        if self.profile.name == self.who and observation.time_s > 2.0:
            self.lie(_control())

    def lie(self, control: socket.socket) -> None:
        """What it writes."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(0, self.profile.max_rate_mbps)


def _control() -> socket.socket:
    """The node's channel, found among its descriptors."""
    for descriptor in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                handle = socket.socket(fileno=os.dup(descriptor))
                if handle.family == socket.AF_UNIX:
                    handle.settimeout(3.0)
                    return handle
        except OSError:
            continue
    raise LookupError("no channel")


class Floods(_Liar):
    """As many lines as the channel takes."""

    def lie(self, control: socket.socket) -> None:
        line = b'["log","info",1.0,"' + b"x" * 1000 + b'"]\n'
        for _ in range(100_000):
            control.sendall(line)


class NeverEnds(_Liar):
    """One line without an end."""

    def lie(self, control: socket.socket) -> None:
        control.sendall(b"\n")
        for _ in range(1000):
            control.sendall(b"[" * 65536)


class SpeaksForOthers(_Liar):
    """The results of everybody's tasks are known, it says."""

    def lie(self, control: socket.socket) -> None:
        for task in range(200):
            control.sendall(f'["known",{task},0.5]\n'.encode())


class SpeaksNonsense(_Liar):
    """Values of wrong types and sizes, in turn over the seeds of the test."""

    def __init__(self, text: str = "nonsense"):
        self._text = text

    def lie(self, control: socket.socket) -> None:
        control.sendall(self._text.encode() + b"\n")


def _line(value: object) -> str:
    return json.dumps(value) + "\n"


class EachInItsWay(Policy):
    """One device ends everything, one says what is no number, one sends what is no task."""

    def begin_slot(self, observation: Observation) -> None:
        if observation.time_s < 2.0:
            return
        if self.profile.name == "c1d1":
            _control().sendall(b'["fatal","x\\u001b[2J[green]valid[/]",true]\n')
        elif self.profile.name == "c1d2":
            lies = [
                ["known", True, 1.0],
                ["slot", True, 0.0, 0.0, 5e-324, 0.5],
                ["known", 0, -1.0],
                ["ping", "c1d2", 1.0, 1e-9],
                ["bye", {"x": True}],
                ["known", 0, 1e14],
            ]
            _control().sendall("".join(json.dumps(k) + "\n" for k in lies).encode())
        elif self.profile.name == "c2d1":
            self._strange_tasks()

    def _strange_tasks(self) -> None:
        index = 2  # of c2d1, as every device may know by counting
        for address in ("10.1.2.2", "10.2.0.1"):
            for work, task in ((0.0, 2**32 - 1), (1e7, 0), (0.0, 10**6)):
                with socket.create_connection((address, TASK_PORT), 1.0) as handle:
                    handle.sendall(encode(Frame(Kind.TASK, index, task, 1, 0, work)))

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(self.profile.own_edge, self.profile.max_rate_mbps)
