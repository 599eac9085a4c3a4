"""A user's policy in a simulation: decisions are asked of processes that hold no simulation.

Scenario, births, F(t) and every queue stay in this process. A policy's process gets what a device
of the emulation gets: profile, parameters and the key of its random stream, then observations and
tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emulation.protocol import simulator_codec as packets
from emulation.protocol.guest_codec import SCALARS, STATUS
from emulation.sandbox.launcher_client import Guest
from model.aliases import Value
from model.errors import UserError
from model.observation import Decision, DeviceProfile, TaskView
from model.random_streams import policy_key
from rl.policies.checking import PolicyError, checked
from rl.policies.state_policy import Layout
from rl.simulator import observe
from rl.simulator.agents import Agents
from rl.simulator.batch import Batch


class _Seat:
    """A device's place: its process, its number there, and its packet, which is filled anew."""

    def __init__(self, guest: Guest, number: int, profile: DeviceProfile, name: str, rows: int):
        self.guest, self.number, self.profile = guest, number, profile
        self.who = f"policy {name} on {profile.name}"
        count = len(profile.targets)
        self.packet = bytearray(packets.HEAD.size + 8 * (SCALARS + rows * count))
        numbers = np.frombuffer(self.packet, np.float64, offset=packets.HEAD.size)
        self.scalars, self.rows = numbers[:SCALARS], numbers[SCALARS:].reshape(rows, count)
        self.observation = memoryview(self.packet)[packets.HEAD.size :]


class GuestAgents(Agents):
    """The policies of all devices, in processes of a user's policy.

    Raises ``PolicyError``, which names policy, device and value, if a policy raises, and
    ``UserError`` if a process ends or does not answer.
    """

    def __init__(
        self,
        batch: Batch,
        guests: Sequence[Guest],
        params: Mapping[str, Value],
        seed: int,
    ):
        """Have a policy made and reset for each device; the processes take turns."""
        facts = guests[0].describe()
        super().__init__(batch, facts.needs, begins=facts.begins)
        self._observed = batch.scenario.decision.compute_status == "observed"
        rows = observe.VIEW_ROWS + (STATUS if self._observed else 0)
        self._own, self._view = np.zeros(2), np.empty((observe.VIEW_ROWS, batch.layout.targets))
        self._seats = [
            _Seat(guests[k % len(guests)], k, profile, facts.name, rows)
            for k, profile in enumerate(batch.layout.profiles)
        ]
        for seat in self._seats:
            key = policy_key(seed, seat.profile.name)
            args = (seat.number, seat.guest.policy, params, seat.profile, key)
            seat.guest.send(packets.to_reset(*args), seat.who)
        self._await_all()

    def _await_all(self) -> None:
        """Wait until every device's process has done what it was asked."""
        for seat in self._seats:
            if seat.guest.receive(seat.who)[:1] != packets.DONE:
                raise _no_answer(seat)

    def attach(self, device: int, layout: Layout) -> None:
        """Say where a device's targets are in the state."""
        seat = self._seats[device]
        seat.guest.send(packets.to_attach(seat.number, layout), seat.who)
        if seat.guest.receive(seat.who)[:1] != packets.DONE:
            raise _no_answer(seat)

    def begin_slot(self, now: float) -> None:
        """Let all devices begin at once, and wait for all."""
        for device, seat in enumerate(self._seats):
            self._look(seat, device, now)
            packets.HEAD.pack_into(seat.packet, 0, packets.SLOT, seat.number, 0.0, 0.0)
            seat.guest.send(seat.packet, seat.who)
        self._await_all()

    def decide(self, device: int, now: float, task: TaskView) -> Decision:
        """A device's decision, which is legal."""
        seat = self._seats[device]
        self._look(seat, device, now)
        work_ghz_s, data_mb = task.work_ghz_s, task.data_mb
        if self.needs != "observation":
            return self._decide_by_state(seat, now, work_ghz_s, data_mb)
        packets.HEAD.pack_into(seat.packet, 0, packets.DECIDE, seat.number, work_ghz_s, data_mb)
        seat.guest.send(seat.packet, seat.who)
        return _decision(seat, seat.guest.receive(seat.who))

    def _decide_by_state(
        self, seat: _Seat, now: float, work_ghz_s: float, data_mb: float
    ) -> Decision:
        state = self.state_now(now)
        head = packets.head(packets.DECIDE_BY_STATE, seat.number, work_ghz_s, data_mb)
        seat.guest.send(head + packets.to_state(seat.observation, state), seat.who)
        answer = seat.guest.receive(seat.who)
        try:
            packets.write_back(bytes(answer[packets.ANSWER.size :]), state)
        except ValueError:
            raise _no_answer(seat) from None
        return _decision(seat, answer[: packets.ANSWER.size])

    def _look(self, seat: _Seat, device: int, now: float) -> None:
        """Write into a device's packet what it sees."""
        batch, count = self._batch, seat.rows.shape[1]
        observe.look(batch.fixed, batch.moving, 0, device, now, self._own, self._view)
        seat.scalars[0], seat.scalars[1:] = now, self._own
        seat.rows[: observe.VIEW_ROWS] = self._view[:, :count]
        if self._observed:
            state = self._views.state(now)
            units = batch.layout.target_unit[device, :count]
            seat.rows[-2], seat.rows[-1] = state.queue_ghz_s[units], state.ghz[units]


def _decision(seat: _Seat, answer: memoryview) -> Decision:
    if len(answer) != packets.ANSWER.size or answer[:1] != packets.DECISION:
        raise _no_answer(seat)
    _, target, rate_mbps = packets.ANSWER.unpack(answer)
    try:
        return checked(Decision(target, rate_mbps), seat.profile)
    except PolicyError as error:
        raise PolicyError(f"{seat.who}: {error}") from None


def _no_answer(seat: _Seat) -> UserError:
    return UserError(f"{seat.who}: its process has sent what is no answer")
