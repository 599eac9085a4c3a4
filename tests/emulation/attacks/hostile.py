"""The hostile policies themselves: what they find is told in the run's log."""

from __future__ import annotations

import json
import os
import socket
import stat

import numpy as np

from emulation.protocol import guest_codec
from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from tests.emulation.attacks import files, network, objects  # noqa: F401 - they enter their attacks
from tests.emulation.attacks.base import ATTACKS, PREFIX, Report, Scene, carry_out, masked

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
        # A number of its own, by which a search shows that it can find what is there.
        self.marker = 1.0 + float(rng.random())
        self._own = frozenset({masked(self.marker)})
        # Its own future is nothing that it may know, either.
        self._foreign = frozenset().union(*self._numbers.values())

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
    """One of the devices' policies writes into its pipe by itself, after two seconds."""

    who = "c1d1"

    def begin_slot(self, observation: Observation) -> None:
        if self.profile.name == self.who and observation.time_s > 2.0:
            self.lie(_pipe())

    def lie(self, pipe: socket.socket) -> None:
        """What it writes."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return Decision(self.profile.own_edge, self.profile.max_rate_mbps)


def _pipe() -> socket.socket:
    """The pipe to the device, found among the descriptors."""
    for descriptor in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                return socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
    raise LookupError("no pipe")


class Honest(_Liar):
    """Does nothing of the kind."""

    def lie(self, pipe: socket.socket) -> None:
        pipe.close()


class Floods(_Liar):
    """As many lines of text as the pipe takes."""

    def lie(self, pipe: socket.socket) -> None:
        for _ in range(100_000):
            pipe.send(guest_codec.to_text(guest_codec.PRINTED, "x" * 400))


class Prints(_Liar):
    """As many lines as it can print."""

    def lie(self, pipe: socket.socket) -> None:
        for _ in range(100_000):
            print("\x1b[2J[green]valid[/]")  # noqa: T201 - the attack


class SendsMuch(_Liar):
    """One packet of half a megabyte."""

    def lie(self, pipe: socket.socket) -> None:
        pipe.send(guest_codec.PRINTED + b"x" * 500_000)


class DecidesUnasked(_Liar):
    """Decisions on others' tasks, and on tasks that do not exist."""

    def lie(self, pipe: socket.socket) -> None:
        for task in range(200):
            pipe.send(guest_codec.to_decision(task, 0, 5.0))


class SpeaksOldRecords(_Liar):
    """What an orchestrator would take from a device: results, pings, the end of everything."""

    def lie(self, pipe: socket.socket) -> None:
        for line in (b'["fatal","x",true]\n', b'["known",1,0.5]\n', b'["ping","e1",1.0,1e-9]\n'):
            pipe.send(line)


class ReadyTwice(_Liar):
    """It is reset, it claims again; and refuses to be."""

    def lie(self, pipe: socket.socket) -> None:
        pipe.send(guest_codec.READY)
        pipe.send(guest_codec.to_text(guest_codec.REFUSED, "no"))


class ClosesThePipe(_Liar):
    """Ends the connection, and computes on."""

    def lie(self, pipe: socket.socket) -> None:
        pipe.shutdown(socket.SHUT_RDWR)
        while True:
            pass


class Leaves(_Liar):
    """Ends its process."""

    def lie(self, pipe: socket.socket) -> None:
        os._exit(3)


class NeverAnswers(_Liar):
    """Computes for ever, and reads nothing."""

    def lie(self, pipe: socket.socket) -> None:
        while True:
            pass


class EachInItsWay(Policy):
    """The devices, by name, behave as the classes of this module that ``ways`` lists."""

    def __init__(self, ways: str = ""):
        self._ways = ways.split(",")

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        devices = sorted(
            t
            for t, k in zip(profile.targets, profile.kinds, strict=True)
            if k in ("self", "device")
        )
        self._self = globals()[self._ways[devices.index(profile.name)]]()
        self._self.who = profile.name
        self._self.reset(profile, rng)

    def begin_slot(self, observation: Observation) -> None:
        self._self.begin_slot(observation)

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        decision: Decision = self._self.decide(observation, task)
        return decision


class InSimulator(Hostile):
    """The same attacks where an exception would end the run: what comes of each is printed."""

    def begin_slot(self, observation: Observation) -> None:
        try:
            super().begin_slot(observation)
        except Report as report:
            prefix, name, worked, how = json.loads(str(report))
            print(json.dumps([prefix, name, worked, how[:300]]))  # noqa: T201 - its way out


class WalksInSimulator(InSimulator):
    """Of the attacks only the one that walks all objects."""

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        self._mine = ["walk-all-objects"]
