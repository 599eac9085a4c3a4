"""A device's end of the pipe to the process of its policy.

Nothing that comes from there is believed: packets have one of six forms, a decision must be an
answer and legal, and what is too much, too late or too long ends the policy, not the device. From
then on the device's tasks stay where they are born.
"""

from __future__ import annotations

import socket
import time
from array import array
from typing import NamedTuple, Protocol

from emulation.node.deciders import Placing, See
from emulation.node.event_loop import READ, Clock, Loop, Timer
from emulation.protocol import guest_codec as codec
from emulation.protocol.briefing import Agent
from model.errors import UserError
from model.observation import Decision, TaskView
from rl.policies.checking import PolicyError, checked

_READY_TIMEOUT_S = 100.0
"""Real: libraries of a policy may take long to import, many at a time."""
_MOST_PRINTED = 200
_MOST_TEXTS = 2000
"""Texts that a policy may send in a run; what it prints is kept up to ``_MOST_PRINTED``."""
_PACKETS_A_TURN = 32


class Listener(Protocol):
    """Takes what is no decision."""

    def complain(self, text: str) -> None:
        """The policy raised where no task depends on it."""

    def printed(self, text: str) -> None:
        """The policy printed a line."""

    def replaced(self, why: str) -> None:
        """The policy decides no more."""


class _Asked(NamedTuple):
    place: Placing
    asked_ns: int
    deadline: Timer


class GuestPolicy:
    """A policy in a process of its own.

    Attributes:
        decision_ns: from question to answer, the pipe included, ns.
        undecided: tasks whose decision did not come in time, or never.
    """

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        agent: Agent,
        pipe: socket.socket,
        listener: Listener,
    ):
        """Have the policy made and reset."""
        self._loop, self._clock, self._agent, self._pipe = loop, clock, agent, pipe
        self._listener = listener
        self._fallback = Decision(0, agent.profile.max_rate_mbps)
        self._patience_s = agent.decision_limit_slots * agent.profile.slot_s
        self._asked: dict[int, _Asked] = {}
        self._late: set[int] = set()
        self._texts = 0
        self._gone = self._ready = False
        self.decision_ns = array("q")
        self.undecided = 0
        pipe.setblocking(False)
        loop.watch(pipe.fileno(), READ, self._readable)
        self._send(codec.to_reset(agent.policy, agent.params, agent.profile, agent.policy_key))
        self._deadline = time.monotonic() + _READY_TIMEOUT_S
        self._refusal = ""

    def await_ready(self) -> None:
        """Wait until the policy is reset. Raises ``UserError`` if it cannot decide for a device."""
        while not (self._ready or self._gone or self._refusal):
            if time.monotonic() > self._deadline:
                raise UserError(f"policy: not ready after {_READY_TIMEOUT_S:g} s of its reset")
            self._loop.step(1.0)
        if self._refusal:
            raise UserError(self._refusal)
        if self._gone:
            raise UserError("policy: its process ended before it was ready")

    def show(self, boundary: int, seen: See) -> None:
        """A policy decides at births."""

    def begin_slot(self, slot: int, seen: See) -> None:
        """Let the policy begin a slot."""
        if not self._gone:
            self._send(codec.to_slot(seen()))

    def ask(self, task_id: int, task: TaskView, seen: See, place: Placing) -> None:
        """Ask for a decision, which has ``decision.limit_slots`` of the scenario from now."""
        if self._gone or not self._send(codec.to_decide(task_id, task, seen())):
            self._give_up(place)
            return
        due = time.monotonic() + self._patience_s / self._clock.speedup
        timer = self._loop.at(due, self._too_late, task_id)
        self._asked[task_id] = _Asked(place, time.perf_counter_ns(), timer)

    def _too_late(self, task_id: int) -> None:
        self._late.add(task_id)
        self._give_up(self._asked.pop(task_id).place)

    def _give_up(self, place: Placing) -> None:
        self.undecided += 1
        place(self._fallback)

    def _send(self, packet: bytes) -> bool:
        """Whether the pipe took it; it does not where a policy reads too slowly."""
        try:
            self._pipe.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            self._end("its process has ended")
            return False
        return True

    def _readable(self, _: int) -> None:
        try:
            for _turn in range(_PACKETS_A_TURN):
                if self._gone:
                    return
                packet = self._pipe.recv(codec.MOST_BYTES + 1)
                if not packet:
                    self._end("its process has ended")
                    return
                self._take(packet[:1], packet[1:])
        except BlockingIOError:
            return
        except ValueError as error:
            self._end(f"it sent {error}")
        except ConnectionResetError:
            self._end("its process has ended")

    def _take(self, kind: bytes, data: bytes) -> None:
        if len(data) >= codec.MOST_BYTES:
            raise ValueError(f"more than {codec.MOST_BYTES} bytes in one packet")
        if kind == codec.DECISION:
            task_id, target, rate_mbps = codec.from_decision(data)
            self._answered(task_id, Decision(target, rate_mbps))
        elif kind == codec.FAULT:
            task_id, text = codec.from_fault(data)
            self._answered(task_id, PolicyError(text))
        elif kind == codec.READY and not self._ready:
            self._ready = True
        elif kind == codec.REFUSED and not self._ready:
            self._refusal = codec.from_text(data)
        elif kind in (codec.COMPLAINT, codec.PRINTED):
            self._text(kind, codec.from_text(data))
        else:
            raise ValueError("a packet that is no answer")

    def _answered(self, task_id: int, answer: Decision | PolicyError) -> None:
        if task_id in self._late:
            self._late.remove(task_id)
            return
        asked = self._asked.pop(task_id, None)
        if asked is None:
            raise ValueError("a decision that was not asked for")
        asked.deadline.cancel()
        self.decision_ns.append(time.perf_counter_ns() - asked.asked_ns)
        if isinstance(answer, Decision):
            try:
                answer = checked(answer, self._agent.profile)
            except PolicyError as error:
                answer = error
        asked.place(answer)

    def _text(self, kind: bytes, text: str) -> None:
        self._texts += 1
        if self._texts > _MOST_TEXTS:
            raise ValueError(f"more than {_MOST_TEXTS} lines of text")
        if kind == codec.COMPLAINT:
            self._listener.complain(text)
        elif self._texts <= _MOST_PRINTED:
            self._listener.printed(text)

    def _end(self, why: str) -> None:
        """The policy decides no more; what it was asked stays on the device."""
        if self._gone:
            return
        self._gone = True
        self._loop.unwatch(self._pipe.fileno())
        self._pipe.close()
        if self._ready:
            self._listener.replaced(why)
        for asked in self._asked.values():
            asked.deadline.cancel()
            self._give_up(asked.place)
        self._asked.clear()
