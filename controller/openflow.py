"""The one seam between the controller and an OpenFlow library: Ryu 4.34 or os-ken.

Both libraries run in a thread of their own and only translate: messages of switches become
``Report``s that are handed to ``receive``, orders become bytes. Whatever decides lives elsewhere,
in one thread, and knows neither library.

os-ken has native threads. Ryu has eventlet's green ones, but reaches eventlet through
``ryu.lib.hub`` only, so nothing is monkey-patched here: the green sockets stay in Ryu's thread, and
sockets, clocks and threads of everything else are the ordinary ones. Bytes for switches cross over
by a socket pair, the one thing that both a green and a native thread can wait for.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import socket
import sys
import threading
import traceback
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, get_args

from controller.handshake import HandshakeError, Screen
from controller.openflow_encoding import encode, new_cookie
from controller.switch_messages import (
    BarrierDone,
    Failed,
    Order,
    PacketIn,
    PortChanged,
    PortCounters,
    PortsCounted,
    Report,
    SwitchConnected,
    SwitchLost,
)
from model.aliases import OpenFlowLibrary
from model.errors import RunError

log = logging.getLogger("controller")

LIBRARIES: tuple[OpenFlowLibrary, ...] = get_args(OpenFlowLibrary)
_PACKAGES: dict[OpenFlowLibrary, str] = {"ryu": "ryu", "os-ken": "os_ken"}
_START_WAIT_S = 20.0
_COUNTERS = tuple(f.name for f in fields(PortCounters) if f.name != "port")


@dataclass(frozen=True, slots=True)
class Library:
    """The parts of an OpenFlow library that are used; both name them alike."""

    name: OpenFlowLibrary
    app_manager: Any
    controller: Any
    handler: Any
    ofp_event: Any
    ofp_handler: Any
    hub: Any

    @property
    def app_class(self) -> Any:
        """Base class of applications."""
        named = {"ryu": "RyuApp", "os-ken": "OSKenApp"}
        return getattr(self.app_manager, named[self.name])

    def waitable(self, handle: socket.socket) -> Any:
        """A socket that a thread of this library may wait for without stopping its siblings."""
        if self.name == "os-ken":
            return handle
        return importlib.import_module("eventlet.greenio").GreenSocket(handle)


def default_library() -> OpenFlowLibrary:
    """Ryu where it is installed, os-ken otherwise."""
    return "ryu" if importlib.util.find_spec("ryu") is not None else "os-ken"


def load(name: OpenFlowLibrary) -> Library:
    """Import a library. Raises ``ImportError`` if it is not installed."""
    if name == "ryu":
        _make_room_for_ryu()
    package = _PACKAGES[name]

    def part(path: str) -> Any:
        return importlib.import_module(f"{package}.{path}")

    return Library(
        name,
        part("base.app_manager"),
        part("controller.controller"),
        part("controller.handler"),
        part("controller.ofp_event"),
        part("controller.ofp_handler"),
        part("lib.hub"),
    )


def _make_room_for_ryu() -> None:
    """Keep out three things that Ryu or eventlet import but that are not used here.

    ``ryu.app.wsgi`` wants a name that newer eventlets lack; pyOpenSSL, which eventlet takes if it
    is there, fails to import when its version does not go with that of cryptography; and eventlet
    prints advice to authors at every start.
    """
    sys.modules.setdefault("ryu.app.wsgi", types.ModuleType("ryu.app.wsgi"))
    sys.modules.setdefault("OpenSSL", None)  # type: ignore[arg-type]  # "cannot be imported"
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")


class _ErrorsAreFatal(logging.Handler):
    """Both libraries log an exception in one of their threads and go on; a run must not."""

    def __init__(self, receive: Callable[[Report], None]):
        super().__init__(logging.ERROR)
        self._receive = receive
        self.addFilter(lambda record: not record.name.startswith("controller"))

    def emit(self, record: logging.LogRecord) -> None:
        self._receive(Failed(self.format(record)))


class OpenFlow:
    """Listens for switches, reports what they say, and sends them orders.

    ``receive`` is called from the library's threads and must not block.
    """

    def __init__(
        self, name: OpenFlowLibrary, address: tuple[str, int], receive: Callable[[Report], None]
    ):
        self.library = load(name)
        self._connection = _connection(self.library)
        self._address = address
        self._receive = receive
        self._switches: dict[int, Any] = {}
        self._outbox: deque[tuple[Any, bytes]] = deque()
        self._bell, self._courier_bell = socket.socketpair()
        self._listening = threading.Event()
        self._problem = ""

    def start(self) -> None:
        """Start the library and wait until it listens. Raises ``RuntimeError`` if it does not."""
        logging.getLogger().addHandler(_ErrorsAreFatal(self._receive))
        # Threads inherit being a daemon: os-ken's cannot be stopped (its hub.kill does nothing) and
        # would otherwise keep the process alive after its end.
        threading.Thread(target=self._run, name="openflow", daemon=True).start()
        if not self._listening.wait(_START_WAIT_S):
            self._problem = "the OpenFlow library did not start"
        if self._problem:
            raise RunError(f"cannot listen on {self._address}: {self._problem}")

    def _run(self) -> None:
        try:
            library = self.library
            manager = library.app_manager.AppManager.get_instance()
            manager.applications_cls["ofp_handler"] = _listener(self)
            manager.applications_cls["translator"] = _translator(self)
            services = manager.instantiate_apps()
            self._listening.set()
            services.append(library.hub.spawn(self._carry))
            library.hub.joinall(services)
        except Exception:  # noqa: BLE001 - whoever receives it ends the process with it
            self._problem = traceback.format_exc()
            self._receive(Failed(self._problem))
        finally:
            self._listening.set()

    def server(self) -> Any:
        """The library's TCP server, bound already, so that a taken address is known at once."""
        # eventlet sets SO_REUSEPORT, with which two controllers would share the switches unawares.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(self._address)
        return self.library.hub.StreamServer(self._address, self._serve_switch)

    def _serve_switch(self, handle: Any, address: Any) -> None:
        """One connection from its beginning to its end, in a thread of the library's."""
        with contextlib.closing(self._connection(Screen(handle), address)) as switch:
            try:
                switch.serve()
            except HandshakeError as error:
                # Anybody may knock at the port; only a switch's own words can be fatal.
                log.warning("what connected from %s is no switch, it says: %s", address, error)

    def _carry(self) -> None:
        """Hand the bytes of the outbox to the library, from within one of its threads."""
        bell = self.library.waitable(self._courier_bell)
        while bell.recv(4096):
            while self._outbox:
                switch, data = self._outbox.popleft()
                switch.send(data)

    def send(self, datapath_id: int, orders: Iterable[Order]) -> None:
        """Send orders to a switch as one piece; silently dropped if it has just gone.

        (Its ``SwitchLost`` is then on its way.)
        """
        switch = self._switches.get(datapath_id)
        if switch is None:
            return
        data = b"".join(encode(switch, order) for order in orders)
        self._outbox.append((switch, data))
        self._bell.send(b"!")

    def connected(self, switch: Any, ports: dict[int, bool]) -> None:
        """Called by the translator when a switch has introduced itself."""
        self._switches[switch.id] = switch
        self._receive(SwitchConnected(switch.id, ports))

    def lost(self, switch: Any) -> None:
        """Called by the translator when a connection has ended, maybe one that was replaced."""
        identity = switch.id
        if identity is not None and self._switches.get(identity) is switch:
            del self._switches[identity]
            self._receive(SwitchLost(identity))

    def report(self, report: Report) -> None:
        """Called by the translator for everything else."""
        self._receive(report)


def _connection(library: Library) -> Any:
    """The library's connection with a switch, with a cookie, that ends when the switch has gone.

    The thread that sends waits for something to send; the library kills it, which does nothing to
    os-ken's native threads, so that the connection would never be known to have ended. Here an
    order to close comes through the thread's own queue.
    """
    base = library.controller.Datapath

    def receive_until_gone(switch: Any) -> None:
        try:
            base._recv_loop(switch)
        finally:
            switch.send(b"", close_socket=True)

    cookie = cached_property(lambda _: new_cookie())
    return type("Connection", (base,), {"_recv_loop": receive_until_gone, "cookie": cookie})


def _listener(openflow: OpenFlow) -> Any:
    """The library's own handler of handshakes and echoes, listening where it is told to."""
    library = openflow.library

    def start(handler: Any) -> Any:
        server = openflow.server()
        library.app_class.start(handler)
        return library.hub.spawn(server.serve_forever)

    return type("Listener", (library.ofp_handler.OFPHandler,), {"start": start})


def _port_is_up(switch: Any, port: Any) -> bool:
    ofproto = switch.ofproto
    return not (port.state & ofproto.OFPPS_LINK_DOWN or port.config & ofproto.OFPPC_PORT_DOWN)


class Translation:
    """The application: messages of switches in, reports out. No decision is made in it."""

    OFP_VERSIONS = (4,)  # OpenFlow 1.3
    openflow: OpenFlow
    ports_of: dict[Any, dict[int, bool]]

    def described(self, ev: Any) -> None:
        """A switch that introduces itself lists its ports, maybe in several parts."""
        switch = ev.msg.datapath
        ports = self.ports_of.setdefault(switch, {})
        ports |= {p.port_no: _port_is_up(switch, p) for p in ev.msg.body}

    def state_changed(self, ev: Any) -> None:
        """A switch is ready, or its connection has ended."""
        ports = self.ports_of.pop(ev.datapath, {})
        if ev.state == self.openflow.library.handler.MAIN_DISPATCHER:
            self.openflow.connected(ev.datapath, ports)
        else:
            self.openflow.lost(ev.datapath)

    def port_changed(self, ev: Any) -> None:
        """A port came, changed or went."""
        message, switch = ev.msg, ev.msg.datapath
        gone = message.reason == switch.ofproto.OFPPR_DELETE
        up = not gone and _port_is_up(switch, message.desc)
        self.openflow.report(PortChanged(switch.id, message.desc.port_no, up))

    def barrier_done(self, ev: Any) -> None:
        """All before a barrier is in place."""
        self.openflow.report(BarrierDone(ev.msg.datapath.id, ev.msg.xid))

    def packet_in(self, ev: Any) -> None:
        """A packet for the controller."""
        message = ev.msg
        port = message.match["in_port"]
        self.openflow.report(PacketIn(message.datapath.id, port, bytes(message.data)))

    def counted(self, ev: Any) -> None:
        """Statistics of ports, maybe in several parts."""
        message = ev.msg
        counters = tuple(
            PortCounters(s.port_no, *(getattr(s, n) for n in _COUNTERS)) for s in message.body
        )
        last = not message.flags & message.datapath.ofproto.OFPMPF_REPLY_MORE
        self.openflow.report(PortsCounted(message.datapath.id, message.xid, counters, last))

    def refused(self, ev: Any) -> None:
        """A switch could not do what it was told, so that its flows are not what they should be."""
        message = ev.msg
        about = bytes(message.data[:16]).hex()
        self.openflow.report(
            Failed(
                f"switch {message.datapath.id} refused an order: type {message.type}, "
                f"code {message.code}, message {about}"
            )
        )


def _translator(openflow: OpenFlow) -> Any:
    """``Translation`` as an application of the library, listening for what it translates."""
    library = openflow.library
    event, states = library.ofp_event, library.handler
    config, main, dead = states.CONFIG_DISPATCHER, states.MAIN_DISPATCHER, states.DEAD_DISPATCHER
    listens = (
        (Translation.described, event.EventOFPPortDescStatsReply, [config]),
        (Translation.state_changed, event.EventOFPStateChange, [main, dead]),
        (Translation.port_changed, event.EventOFPPortStatus, [main]),
        (Translation.barrier_done, event.EventOFPBarrierReply, [main]),
        (Translation.packet_in, event.EventOFPPacketIn, [main]),
        (Translation.counted, event.EventOFPPortStatsReply, [main]),
        (Translation.refused, event.EventOFPErrorMsg, [config, main]),
    )
    for method, message, when in listens:
        library.handler.set_ev_cls(message, when)(method)
    body = {"openflow": openflow, "ports_of": {}}
    return type("Translator", (Translation, library.app_class), body)
