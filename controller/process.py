r"""The controller as a process of its own.

::

    python -m controller.process --scenario resolved.json [--openflow ryu|os-ken]
        [--listen 127.0.0.1:6653] [--events-fd N] [--arp on|off]

With ``--events-fd`` it tells events and takes commands over an inherited stream socket, one JSON
object a line (see ``model.controller_messages``); when the other end closes, it ends. Without,
it serves until it is stopped, as stock Mininet wants it. What is worth a line goes to stderr either
way.

It ends with status 0 after ``stop``, SIGTERM or SIGINT; with 1 and a traceback after any failure.
"""

from __future__ import annotations

import argparse
import logging
import queue
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from controller.api.feed import ApiFeed
from controller.core import Control, ControllerError
from controller.link_sampler import LinkSampler
from controller.openflow import LIBRARIES, OpenFlow, default_library
from controller.orchestrator_link import Channel
from controller.sampling_clock import Looked, SlotClock, SlotEnded, Slots
from controller.switch_messages import Report
from model import controller_messages as messages
from model.controller_messages import Command, Event
from model.network import Network, build_network
from model.scenario import Scenario

log = logging.getLogger("controller")
DEFAULT_ADDRESS = ("127.0.0.1", 6653)


class Stop(Exception):  # noqa: N818 - not an error
    """The process is to end in order."""


class Process:
    """Everything that happens is put into one inbox, and one thread acts on it in order."""

    def __init__(
        self, network: Network, channel: Channel | None, api: ApiFeed | None = None, *, arp: bool
    ):
        self.network, self._channel, self._api = network, channel, api
        # put() is safe in signal handlers and between native and green threads: it never blocks.
        self.inbox: queue.SimpleQueue[Report | SlotEnded | Looked | Command | Stop | None] = (
            queue.SimpleQueue()
        )
        self._arp = arp
        self._clock: SlotClock | None = None

    def serve(self, openflow: OpenFlow) -> None:
        """Serve switches until told to stop. Raises whatever goes wrong, from any thread."""
        control = Control(self.network, openflow.send, self.tell, arp=self._arp)
        self._state = control.state
        openflow.start()
        self.tell(messages.Listening())
        if self._channel is not None:
            self._channel.listen(self.inbox.put)
        try:
            while True:
                self._act(control, self.inbox.get())
        except Stop as reason:
            log.info("ends: %s", reason)
        finally:
            if self._clock is not None:
                self._clock.stop()
            if self._api is not None:
                self._api.stop()

    def _act(
        self, control: Control, item: Report | SlotEnded | Looked | Command | Stop | None
    ) -> None:
        if item is None:
            raise Stop("the other end of the events' socket has closed")
        if isinstance(item, Stop):
            raise item
        if isinstance(item, Command):
            self._obey(control, item)
        else:
            control.handle(item)

    def _obey(self, control: Control, command: Command) -> None:
        if self._api is not None:
            self._api.put(command)
        match command:
            case messages.Start(t0, slot_s, slots, looks, first):
                if self._clock is not None:
                    raise ControllerError("the slots were started already")
                times = Slots(t0, slot_s, slots, looks, first)
                self._clock = SlotClock(LinkSampler(self.network), times, self.inbox.put)
                self._clock.start()
            case messages.RateChanged(link, rate_mbps):
                control.virtual.set_rate(link, rate_mbps, time.monotonic())
            case messages.UnitsReported():
                pass  # for the operator's API only
            case messages.Stop():
                raise Stop("told to stop")

    def tell(self, event: Event) -> None:
        """Send an event to the orchestrator, and log what a person would want to know."""
        line = describe(event)
        if line:
            log.info("%s", line)
        if self._channel is not None:
            try:
                self._channel.send(event)
            except BrokenPipeError:
                raise Stop("the other end of the events' socket has closed") from None
        if self._api is not None:
            self._tell_api(self._api, event)

    def _tell_api(self, api: ApiFeed, event: Event) -> None:
        """The API starts when all flows are installed, so as not to slow bring-up down."""
        if isinstance(event, messages.Installed):
            api.start()
        api.put(event)
        if isinstance(event, messages.Installed | messages.Rerouted):
            api.put_state(self._state)


def describe(event: Event) -> str:
    """An event in words; '' for what comes every slot."""
    match event:
        case messages.Listening():
            return "listens for switches"
        case messages.SwitchChanged(name, up):
            return f"switch {name} " + ("has connected" if up else "has gone")
        case messages.Installed(flows):
            return f"all switches are connected and have their flows, {flows} in all"
        case messages.CableChanged(cable, up):
            return f"cable {cable} is " + ("up again" if up else "down")
        case messages.Rerouted(changed, seconds):
            return f"{changed} flows changed in {seconds * 1e3:.1f} ms"
        case _:
            return ""


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return host, int(port)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not like 127.0.0.1:6653") from None


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controller.process", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--scenario", type=Path, required=True, metavar="JSON", help="the scenario, as resolved"
    )
    parser.add_argument(
        "--openflow", choices=LIBRARIES, default=default_library(), help="OpenFlow library"
    )
    parser.add_argument(
        "--listen",
        type=_address,
        default=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="where switches connect to (127.0.0.1:6653)",
    )
    parser.add_argument(
        "--events-fd", type=int, metavar="N", help="inherited socket for events and commands"
    )
    parser.add_argument(
        "--arp",
        choices=("on", "off"),
        help="answer ARP requests of hosts (default: on without --events-fd)",
    )
    parser.add_argument(
        "--api", type=Path, metavar="DIRECTORY", help="serve the operator's API from there"
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> NoReturn:
    """Run the process; never returns."""
    options = _arguments(words)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s controller: %(message)s"
    )
    log.setLevel(logging.INFO)
    scenario = Scenario.model_validate_json(options.scenario.read_text())
    attached = options.events_fd is not None
    channel = Channel(options.events_fd) if attached else None
    arp = options.arp == "on" if options.arp else not attached
    api = ApiFeed(options.scenario, options.api) if options.api else None
    process = Process(build_network(scenario), channel, api, arp=arp)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: process.inbox.put(Stop(signal.Signals(n).name)))
    log.info("serves scenario %s with %s", scenario.name, options.openflow)
    process.serve(OpenFlow(options.openflow, options.listen, process.inbox.put))
    sys.exit(0)


if __name__ == "__main__":
    main()
