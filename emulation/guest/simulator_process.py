"""The process of policies that a simulation asks: unprivileged, without network or files, one pipe.

It gets profiles, observations and tasks, and answers with targets and rates. The simulation, with
its births and its F(t), is in another process. Where a device has many neighbours in one process,
they share that process alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from emulation.guest.process import Guest, hint
from emulation.protocol import guest_codec
from emulation.protocol import simulator_codec as packets
from model.errors import UserError
from model.observation import Decision, DeviceProfile
from model.random_streams import generator
from rl import policies
from rl.policies.base import Policy
from rl.policies.checking import PolicyError, checked, raised
from rl.policies.learned import Learned
from rl.policies.state_policy import StatePolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Seat:
    """A device's policy."""

    policy: Policy
    profile: DeviceProfile


class _NotMadeError(Exception):
    """A class's module or constructor raised; the text names the policy."""

    def __init__(self, error: PolicyError):
        super().__init__(str(error))
        self.trace = error.trace


class SimulatorGuest(Guest):
    """Answers a simulation's packets with what its policies do."""

    def __init__(self, pipe: socket.socket):
        super().__init__(pipe)
        self._seats: dict[int, _Seat] = {}

    def _answer(self, data: bytes) -> bytes:
        try:
            return self._carried_out(data)
        except PolicyError as error:
            return packets.to_fault(packets.FAULT, f"{error}{hint(error)}", error.trace)
        except _NotMadeError as error:
            return packets.to_fault(packets.RAISED, f"{error}{hint(error)}", error.trace)
        except UserError as error:
            return packets.to_fault(packets.REFUSED, f"{error}{hint(error)}")

    def _carried_out(self, data: bytes) -> bytes:
        kind, number, _, _ = packets.HEAD.unpack_from(data)
        if kind == packets.DESCRIBE:
            return _described(data[packets.HEAD.size :])
        if kind == packets.RESET:
            self._seats[number] = _seated(data[packets.HEAD.size :])
            return packets.DONE
        seat = self._seats[number]
        targets = len(seat.profile.targets)
        if kind == packets.DECIDE:
            task, seen = packets.from_decide(data, targets)
            return _decision(seat, lambda: seat.policy.decide(seen, task))
        if kind == packets.SLOT:
            seen = guest_codec.from_slot(data[packets.HEAD.size :], targets)
            _called("begin_slot", lambda: seat.policy.begin_slot(seen))
        elif isinstance(seat.policy, StatePolicy):
            return _with_state(seat, seat.policy, kind, data)
        return packets.DONE


def _called(method: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except PolicyError:
        raise
    except (Exception, SystemExit) as error:
        raise raised(method, error) from error


def _decision(seat: _Seat, decide: Callable[[], Decision]) -> bytes:
    found = checked(_called("decide", decide), seat.profile)
    return packets.ANSWER.pack(packets.DECISION, found.target, found.rate_mbps)


def _with_state(seat: _Seat, policy: StatePolicy, kind: bytes, data: bytes) -> bytes:
    rest = data[packets.HEAD.size :]
    if kind == packets.ATTACH:
        _called("attach", lambda: policy.attach(packets.from_attach(rest)))
        return packets.DONE
    task = packets.task_of(data)
    seen, state = packets.from_state(rest, len(seat.profile.targets))
    decided = _decision(seat, lambda: policy.decide_with_state(seen, task, state))
    return decided + packets.arrays_of(state)


def _made(make: Callable[[], T]) -> T:
    try:
        return make()
    except PolicyError as error:
        raise _NotMadeError(error) from error


def _described(data: bytes) -> bytes:
    name, params = packets.from_describe(data)
    kind = _made(lambda: policies.policy_class(name))
    if params is not None:
        _made(lambda: policies.create(name, params))
    algorithm = kind.algorithm if issubclass(kind, Learned) else ""
    begins = kind.begin_slot is not Policy.begin_slot
    names = tuple(policies.parameters(kind))
    return packets.to_facts(packets.Facts(kind.__name__, str(kind.needs), names, algorithm, begins))


def _seated(data: bytes) -> _Seat:
    name, params, profile, key = guest_codec.from_reset(data)
    policy = _made(lambda: policies.create(name, params))
    _called("reset", lambda: policy.reset(profile, generator(key)))
    return _Seat(policy, profile)


def run_simulator_guest(pipe: socket.socket) -> None:
    """Be a process of policies until the pipe is closed."""
    try:
        SimulatorGuest(pipe).serve()
    except ConnectionError:
        return  # the simulation has ended
    finally:
        os._exit(0)
