"""The process of a user's policy: unprivileged, without network or files, one pipe to its device.

It gets profile, observations and tasks, and answers with targets and rates. What the policy prints
goes to the device too, as lines of the run's log.
"""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Callable

from emulation.protocol import guest_codec
from model.errors import UserError
from model.observation import DeviceProfile
from rl.policies.base import Policy
from rl.policies.calls import decision_of, policy_of
from rl.policies.checking import PolicyError, raised

_MOST_REQUEST_BYTES = 1 << 20
_LONGEST_LINE = 400


class _Printed(io.TextIOBase):
    """Standard output and error of a policy: whole lines, as packets."""

    def __init__(self, send: Callable[[bytes], object]):
        self._send, self._line = send, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        if len(self._line) > _LONGEST_LINE:
            lines, self._line = [*lines, self._line], ""
        for line in filter(None, lines):
            self._send(guest_codec.to_text(guest_codec.PRINTED, line))
        return len(text)


class Guest:
    """Answers a device's requests with what its policy does."""

    def __init__(self, pipe: socket.socket):
        self._pipe = pipe
        self._policy: Policy | None = None
        self._profile: DeviceProfile | None = None

    def serve(self) -> None:
        """Answer until the device closes the pipe."""
        sys.stdout = sys.stderr = _Printed(self._pipe.send)
        buffer = memoryview(bytearray(_MOST_REQUEST_BYTES))
        while size := self._pipe.recv_into(buffer):
            if answer := self._answer(bytes(buffer[:size])):
                self._pipe.send(answer)

    def _answer(self, data: bytes) -> bytes:
        kind, rest = data[:1], data[1:]
        if kind == guest_codec.RESET:
            return self._reset(rest)
        assert self._policy is not None  # noqa: S101 - a device asks for a reset first
        assert self._profile is not None  # noqa: S101
        targets = len(self._profile.targets)
        if kind == guest_codec.DECIDE:
            return self._decide(rest, self._policy, self._profile)
        try:
            self._policy.begin_slot(guest_codec.from_slot(rest, targets))
        except Exception as error:  # noqa: BLE001 - a policy may raise anything
            return guest_codec.to_text(
                guest_codec.COMPLAINT, f"{raised('begin_slot', error)}{hint(error)}"
            )
        return b""

    def _reset(self, data: bytes) -> bytes:
        name, params, profile, key = guest_codec.from_reset(data)
        try:
            self._policy, self._profile = policy_of(name, params, profile, key), profile
        except UserError as error:
            return guest_codec.to_text(guest_codec.REFUSED, f"{error}{hint(error)}")
        except Exception as error:  # noqa: BLE001 - a module may raise anything on import
            reason = f"policy: {raised('import', error)}{hint(error)}"
            return guest_codec.to_text(guest_codec.REFUSED, reason)
        return guest_codec.READY

    def _decide(self, data: bytes, policy: Policy, profile: DeviceProfile) -> bytes:
        number, task, seen = guest_codec.from_decide(data, len(profile.targets))
        try:
            found = decision_of(policy, profile, seen, task)
        except PolicyError as error:
            return guest_codec.to_fault(number, f"{error}{hint(error)}")
        return guest_codec.to_decision(number, found.target, found.rate_mbps)


def hint(error: BaseException | None) -> str:
    """What to do about a file that is there for the user, and not for the policy."""
    while error is not None:
        if isinstance(error, FileNotFoundError | PermissionError) and error.filename:
            return "; a policy sees only files that a parameter names: --param KEY=FILE"
        error = error.__cause__
    return ""


def run_guest(pipe: socket.socket) -> int:
    """Be the process of a policy until the pipe is closed; returns the exit status."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    try:
        Guest(pipe).serve()
    except ConnectionError:
        return 0  # the device has gone
    return 0
