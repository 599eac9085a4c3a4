"""CPU that the operator's view costs: links and units of every slot, with the API on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psutil

from cli.api_client import RunningApi
from emulation.host.ledger import Ledger
from emulation.options import RunOptions
from emulation.orchestrator.conductor import LEAD_S
from emulation.orchestrator.deployment import Machinery
from emulation.orchestrator.slot_loop import REPORTS_GRACE
from model.errors import UserError

_PROGRAMS = {"controller": "controller.process", "api": "controller.api.serve"}
_SETTLE_SLOTS = 3
_API_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """Shares of one core that the controller and its API took.

    Attributes:
        stream_bytes: what one client of the stream received in a slot, on average.
    """

    links: int
    units: int
    idle: dict[str, float]
    streaming: dict[str, float]
    stream_bytes: float


class _Slots:
    """Slots of one second of a network that carries nothing; the units' reports are made up."""

    def __init__(self, machinery: Machinery, slots: int):
        self._machinery, self._slot = machinery, 0
        self._begin = time.monotonic() + LEAD_S
        start = {"cmd": "start", "t0": self._begin, "slot_s": 1.0, "slots": slots}
        machinery.controller.send(start)

    def run(self, count: int) -> None:
        """Go through that many slots, as the conductor does."""
        controller = self._machinery.controller
        for _ in range(count):
            self._slot += 1
            while True:
                event = controller.receive(_API_TIMEOUT_S)
                if event["event"] == "links" and event["slot"] == self._slot:
                    break
            time.sleep(max(0.0, self._begin + self._slot + REPORTS_GRACE - time.monotonic()))
            units = [[u.name, 1.5, 2.0, 0.5] for u in self._machinery.network.units]
            controller.send({"cmd": "units", "slot": self._slot, "units": units})


class _StreamReader:
    """A client of the stream in a thread of its own."""

    def __init__(self, client: httpx.Client):
        self.received = 0
        self._client = client
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._client.stream("GET", "/stream") as stream:
                for data in stream.iter_raw():
                    self.received += len(data)
        except httpx.HTTPError:
            return  # the run has ended


def _processes() -> dict[str, psutil.Process]:
    found: dict[str, psutil.Process] = {}
    for child in psutil.Process().children(recursive=True):
        words = child.cmdline()
        found |= {name: child for name, module in _PROGRAMS.items() if module in words}
    missing = set(_PROGRAMS) - set(found)
    if missing:
        raise UserError(f"{', '.join(missing)}: there is no such process")
    return found


def _shares(work: Callable[[], None]) -> dict[str, float]:
    """Shares of one core that the processes take while ``work`` goes on."""
    processes = _processes()

    def spent() -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in processes.items()}
        return {name: t.user + t.system for name, t in times.items()}

    begin, before = time.monotonic(), spent()
    work()
    after, seconds = spent(), time.monotonic() - begin
    return {name: (after[name] - before[name]) / seconds for name in processes}


@contextmanager
def _network(options: RunOptions) -> Iterator[tuple[Machinery, RunningApi]]:
    ledger = Ledger.open_new()
    try:
        machinery = Machinery(options, ledger)
        try:
            machinery.bring_network_up()
            yield machinery, RunningApi(ledger.run_id, ledger.directory)
        finally:
            machinery.tear_down()
    finally:
        ledger.remove_all()


def _await_api(api: RunningApi) -> httpx.Client:
    deadline = time.monotonic() + _API_TIMEOUT_S
    while True:
        try:
            client = api.client()
            client.get("/health").raise_for_status()
        except (UserError, httpx.HTTPError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return client


def measure(options: RunOptions, slots: int) -> Sampling:
    """Run ``slots`` slots without a client and as many with one that reads the stream.

    Raises ``UserError`` or ``RunError`` if the network does not come up.
    """
    with _network(options) as (machinery, api):
        client = _await_api(api)
        run = _Slots(machinery, 2 * (slots + _SETTLE_SLOTS)).run
        run(_SETTLE_SLOTS)
        idle = _shares(lambda: run(slots))
        reader = _StreamReader(client)
        run(_SETTLE_SLOTS)
        before = reader.received
        streaming = _shares(lambda: run(slots))
        network = machinery.network
        return Sampling(
            len(network.shaped_links),
            len(network.units),
            idle,
            streaming,
            (reader.received - before) / slots,
        )
