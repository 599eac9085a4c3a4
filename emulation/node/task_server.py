"""A unit: takes tasks in over TCP or from its own device, and serves them first come, first served.

A task joins the queue when its last byte has arrived. What service is, ``emulation.node.work``
says; the result is sent when it ends. With ``cloud.mode: overflow`` an edge whose queue is too long
passes a task on to the cloud, bytes and all, and relays the result.
"""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emulation.node.admission import Admission
from emulation.node.event_loop import READ, Clock, Loop
from emulation.node.pacing import task_socket
from emulation.node.peer import Peer
from emulation.node.sockets import OwnNamespace, Sockets
from emulation.node.task_sender import Order, Transfers
from emulation.node.work import Job, Outcome, Work
from emulation.protocol.frames import MAX_ERROR_BYTES, Frame, Kind, WireError
from emulation.protocol.messages import Arrived, Log, Record, Service
from model.addressing import TASK_PORT

_MAX_UNSENT_BYTES = 1_048_576
_RESULTS_AHEAD = 16
"""Real results that a device may leave unread; none is larger than its task's data."""
_MOST_CONNECTIONS = 4096
"""Of one device at a time: each task that is under way has one, and some rest."""
_BACKLOG = 1024
_MAX_COMPLAINTS = 50

Report = Callable[[Record], None]


@dataclass(slots=True, eq=False)
class Visitor:
    """A task that has arrived here, once and for all; ``peer`` is where its result goes."""

    frame: Frame
    arrived_s: float
    peer: Peer | None
    processing_s: float | None = None
    outcome: Outcome | None = None


class Unit:
    """The queue of a unit and its TCP server.

    Attributes:
        work: what is done here, and the queue for it.
        served: services begun here.
        owner: whether a task is that device's.
        admission: what a task must be to be taken in; None: anything.
        senders: address → the device that may send from there; None: it may pass on tasks of all.
            The network lets no one send from another's address. Where it is None, all may send.
        remembered_s: for how long a task that was served is known, should it come again.
        result_rate_mbps: how fast results go back, Mbps on the wire; None: they are but messages.
        repeated: tasks that came again after they had arrived, and were not served twice.
        forwarded: tasks passed on to the cloud.
    """

    def __init__(  # noqa: PLR0913 - what it works with and what it takes in, all by name
        self,
        loop: Loop,
        clock: Clock,
        work: Work,
        report: Report,
        *,
        sockets: Sockets | None = None,
        owner: Callable[[Frame], bool] = lambda _: True,
        admission: Admission | None = None,
        senders: Mapping[str, int | None] | None = None,
        remembered_s: float = math.inf,
        result_rate_mbps: float | None = None,
    ):
        self._sockets = sockets or OwnNamespace()
        self.owner, self.admission, self.senders = owner, admission, senders
        self.remembered_s, self.result_rate_mbps = remembered_s, result_rate_mbps
        self.loop, self.clock, self.work = loop, clock, work
        self._report = report
        self._peers: set[Peer] = set()
        self._visitors: dict[tuple[int, int], Visitor] = {}
        self._served: deque[tuple[float, tuple[int, int]]] = deque()
        self.most_unsent_bytes = _MAX_UNSENT_BYTES + _RESULTS_AHEAD * (work.most_bytes or 0)
        self._overflow: tuple[Transfers, float, float, str] | None = None
        self._server: socket.socket | None = None
        self.served = self.repeated = self.forwarded = 0
        self._complaints = 0

    def listen(self, address: str, port: int = TASK_PORT) -> int:
        """Accept tasks; returns the port. Raises ``OSError``."""
        self._server = server = task_socket(self._sockets)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(_BACKLOG)
        self.loop.watch(server.fileno(), READ, self._accept)
        return int(server.getsockname()[1])

    def overflow_to(self, transfers: Transfers, queue_s: float, rate_mbps: float) -> None:
        """Pass tasks on to the cloud while Q/F here exceeds ``queue_s``."""
        self._overflow = (transfers, queue_s, rate_mbps, next(iter(transfers.addresses)))

    def close(self) -> None:
        """Close the server and all connections."""
        if self._server is not None:
            self.loop.unwatch(self._server.fileno())
            self._server.close()
        for peer in list(self._peers):
            peer.close("")
        self.work.close()

    def local(
        self, work_ghz_s: float, task: int, data: bytes, done: Callable[[float, Outcome], None]
    ) -> None:
        """A task of the unit's own device joins the queue; ``done(processing_s, …)`` at its end."""
        now = self.clock.now()
        self._report(Arrived(task, now))
        self._serve(Job(task, None, work_ghz_s, data, now), done)

    def require_sender(self, peer: Peer, frame: Frame) -> None:
        """Raise ``WireError`` for a frame in the name of another device than the one there."""
        if self.senders is None:
            return
        if peer.address not in self.senders:
            raise WireError(f"{peer.address} has nothing to send here")
        device = self.senders[peer.address]
        if device is not None and frame.device != device:
            raise WireError(f"{peer.address} is not device {frame.device}")

    def expect(self, peer: Peer, frame: Frame) -> None:
        """A task begins to arrive. Raises ``WireError`` if it cannot be of this run."""
        if not self.owner(frame):
            raise WireError(f"{peer.address}: no task {frame.task} of device {frame.device}")
        if self.admission is not None:
            is_known = (frame.device, frame.task) in self._visitors
            self.admission.require(frame, again=is_known)
        most = self.work.most_bytes
        if most is None:
            return
        if frame.payload_bytes > most:
            raise WireError(f"{frame.payload_bytes} bytes of data; at most {most} are taken")
        self._require_room(frame)
        # Its bytes are to be here once: who sends them again has given up the connection before.
        for other in [p for p in self._peers if p.arriving == (frame.device, frame.task)]:
            other.close(f"task {frame.task} is sent anew on another connection")

    def _require_room(self, frame: Frame) -> None:
        """Raise ``WireError`` if data of too many tasks of a device are here already."""
        most = None if self.admission is None else self.admission.most_held
        if most is None:
            return
        tasks = {p.arriving for p in self._peers} | {
            key for key, visitor in self._visitors.items() if visitor.processing_s is None
        }
        if sum(key is not None and key[0] == frame.device for key in tasks) >= most:
            raise WireError(f"{most} tasks of device {frame.device} are here or arrive already")

    def complete(self, peer: Peer, frame: Frame, data: bytes | bytearray) -> None:
        """The last byte of a task has arrived."""
        job = self._visitors.get((frame.device, frame.task))
        if job is not None:
            self.repeated += 1
            job.peer = peer
            self._say_arrived(job)
            if job.processing_s is not None:
                self._say_result(job)
            return
        if self.admission is not None:
            self.admission.require_data(frame, data)
            self.admission.taken(frame)
        job = Visitor(frame, self.clock.now(), peer)
        self._visitors[frame.device, frame.task] = job
        self._report(Arrived(frame.task, job.arrived_s, frame.device))
        self._say_arrived(job)
        if self._overflow is not None and self._too_long(job.arrived_s):
            self._forward(job)
        else:
            self._serve_visitor(job, data, job.arrived_s)

    def forget(self, peer: Peer, reason: str) -> None:
        """A connection has ended; a reason that is not '' is noted."""
        self._peers.discard(peer)
        if reason:
            self._complain(f"{peer.address}: {reason}")

    # What becomes of tasks that were passed on (``emulation.node.task_sender.Listener``).

    def dispatched(self, order: Order) -> None:
        """Of no interest: the task's own dispatch was at its device."""

    def arrived(self, order: Order) -> None:
        """Of no interest: the task's own arrival was here."""

    def result(self, order: Order, processing_s: float, result: bytes) -> None:
        """The cloud has served a task: relay the result, with all the time since it came here."""
        job, now = self._visitors[order.device, order.task], self.clock.now()
        outcome = Outcome(job.arrived_s, now, result)
        self._finish(job, max(processing_s, now - job.arrived_s), outcome)

    def unserved(self, order: Order, reason: str) -> None:
        """Of no interest: only real work can fail, and it is not passed on."""

    def failed(self, order: Order, reason: str) -> None:
        """The cloud cannot be reached: serve the task here after all."""
        self._complain(f"task {order.task} could not be passed on: {reason}")
        job = self._visitors[order.device, order.task]
        self._serve_visitor(job, b"", self.clock.now())

    def _complain(self, text: str) -> None:
        self._complaints += 1
        if self._complaints <= _MAX_COMPLAINTS:
            self._report(Log("warning", self.clock.now(), text))

    def _accept(self, _: int) -> None:
        assert self._server is not None  # noqa: S101 - for the type checker: we are called by it
        while True:
            try:
                handle, (address, _port) = self._server.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._complain(f"cannot accept: {error.strerror}")
                return
            if sum(p.address == address for p in self._peers) >= self._most_connections(address):
                self._complain(f"{address}: more than {_MOST_CONNECTIONS} connections")
                handle.close()
                continue
            self._peers.add(Peer(self, handle, address))

    def _most_connections(self, address: str) -> float:
        passes_on = self.senders is not None and self.senders.get(address, 0) is None
        return math.inf if passes_on else _MOST_CONNECTIONS

    def _serve_visitor(self, visitor: Visitor, data: bytes | bytearray, now: float) -> None:
        frame, waited_s = visitor.frame, now - visitor.arrived_s
        self._serve(
            Job(frame.task, frame.device, frame.value, data, now),
            lambda s, outcome: self._finish(visitor, s + waited_s, outcome),
        )

    def _serve(self, job: Job, done: Callable[[float, Outcome], None]) -> None:
        self.served += 1

        def end(outcome: Outcome) -> None:
            self._report(Service(job.task, outcome.start_s, outcome.end_s, job.device))
            done(outcome.end_s - job.joined_s, outcome)

        self.work.serve(job, end)

    def _too_long(self, now: float) -> bool:
        assert self._overflow is not None  # noqa: S101 - for the type checker: asked before
        return self.work.queue_ghz_s(now) > self._overflow[1] * self.work.frequency.at(now)

    def _forward(self, job: Visitor) -> None:
        assert self._overflow is not None  # noqa: S101 - for the type checker: asked before
        transfers, _, rate, cloud = self._overflow
        self.forwarded += 1
        f = job.frame
        transfers.send(Order(cloud, f.device, f.task, f.payload_bytes, f.value, rate))

    def _finish(self, job: Visitor, processing_s: float, outcome: Outcome) -> None:
        job.processing_s, job.outcome = processing_s, outcome
        self._say_result(job)
        key, now = (job.frame.device, job.frame.task), self.clock.now()
        self._served.append((now, key))
        while self._served[0][0] < now - self.remembered_s:
            del self._visitors[self._served.popleft()[1]]
        if self.work.most_bytes is not None:
            self._drop_delivered()

    def _drop_delivered(self) -> None:
        """Forget real results that have come to their devices; the others may be asked for again.

        A task is served once: whose result is forgotten, ``admission`` refuses from then on.
        """
        done = [v for v in (self._visitors[key] for _, key in self._served)
                if v.peer is not None and v.peer.everything_acknowledged]  # fmt: skip
        for visitor in done:
            del self._visitors[visitor.frame.device, visitor.frame.task]
        self._served = deque(entry for entry in self._served if entry[1] in self._visitors)

    def _say_arrived(self, job: Visitor) -> None:
        if job.peer is not None:
            f = job.frame
            job.peer.send(Frame(Kind.ARRIVED, f.device, f.task, f.attempt, 0, job.arrived_s))

    def _say_result(self, job: Visitor) -> None:
        if job.peer is None or job.processing_s is None or job.outcome is None:
            return
        f, outcome = job.frame, job.outcome
        kind = Kind.UNSERVED if outcome.error else Kind.RESULT
        payload = outcome.error.encode()[:MAX_ERROR_BYTES] if outcome.error else outcome.result
        frame = Frame(kind, f.device, f.task, f.attempt, len(payload), job.processing_s)
        job.peer.send(frame, payload)
