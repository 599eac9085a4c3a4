"""A private Open vSwitch: one database and one switch daemon per run, inside the fabric namespace.

The machine's own Open vSwitch, if it has one, is neither needed nor touched: nothing of a run can
survive in its database, and no device has a path to the daemon's sockets.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emulation.host import processes
from emulation.host.commands import run
from model.errors import RunError

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
CONTROLLER = "tcp:127.0.0.1:6653"
Datapath = Literal["system", "netdev"]
_NICENESS = -10
"""What Open vSwitch's own start script gives its daemon."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A switch: its name, datapath id (16 hex digits) and ports, interface name → port number."""

    name: str
    datapath_id: str
    ports: Mapping[str, int] = field(default_factory=dict)


class OpenVSwitch:
    """Starts, configures and stops the run's own Open vSwitch.

    Attributes:
        scheduling: how the switch daemon gets a processor, for the manifest.
    """

    def __init__(self, directory: Path, namespace: str, environment: Mapping[str, str]):
        self._directory = directory
        self._namespace = namespace
        self._environment = {
            **environment,
            "OVS_RUNDIR": str(directory),
            "OVS_LOGDIR": str(directory),
            "OVS_DBDIR": str(directory),
            "OVS_SYSCONFDIR": str(directory),
        }
        self._socket = directory / "db.sock"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._bridges: list[Bridge] = []
        self.scheduling = ""

    def start(self) -> None:
        """Start the database and the switch daemon; returns when the database has answered."""
        self._directory.mkdir(mode=0o700)
        database = self._directory / "conf.db"
        run(["ovsdb-tool", "create", str(database), str(SCHEMA)], env=self._environment)
        self.spawn("ovsdb-server")
        self._vsctl("--no-wait", "init")
        self.spawn("ovs-vswitchd")

    def spawn(self, program: str) -> None:
        """Start a daemon, also again: all that it must know is in the database."""
        database = str(self._directory / "conf.db")
        forwards = program == "ovs-vswitchd"
        arguments = [f"unix:{self._socket}"]
        if not forwards:
            arguments = [database, f"--remote=punix:{self._socket}"]
        quiet = ["-vconsole:warn", "-vsyslog:off", "-vfile:off", "--no-chdir"]
        child = processes.start(
            [program, *arguments, *quiet],
            environment=self._environment,
            log=self._log(program),
            namespace=self._namespace,
        )
        self._children[program] = child
        if forwards:
            self.scheduling = _go_first(child.pid)

    def _log(self, program: str) -> Path:
        return self._directory / f"{program}.log"

    def _vsctl(self, *arguments: str) -> str:
        command = ["ovs-vsctl", f"--db=unix:{self._socket}", "--retry", "--timeout=20", *arguments]
        return run(command, env=self._environment)

    def configure(self, bridges: list[Bridge], datapath: Datapath) -> None:
        """Make all bridges with all ports in one transaction and check every port number.

        Raises ``RunError`` if a port could not be attached or got another number, and
        ``CommandError`` if Open vSwitch does not do as it is asked.
        """
        self._bridges = bridges
        # Without this, Open vSwitch removes the queue of every interface that is added to it.
        words = ["--id=@keep", "create", "qos", "type=linux-noop"]
        for bridge in bridges:
            words += ["--", "add-br", bridge.name]
            words += ["--", "set", "bridge", bridge.name, f"datapath_type={datapath}"]
            words += ["fail_mode=secure", "protocols=OpenFlow13"]
            words += [f"other-config:datapath-id={bridge.datapath_id}"]
            words += ["other-config:disable-in-band=true"]
            for interface, number in bridge.ports.items():
                words += ["--", "add-port", bridge.name, interface]
                words += ["--", "set", "port", interface, "qos=@keep"]
                words += ["--", "set", "interface", interface, f"ofport_request={number}"]
        self._vsctl("--", *words)
        self._verify(bridges)

    def connect(self) -> None:
        """Tell the switches their controller, which must be listening.

        A switch that finds nobody there tries again only after a second.
        """
        words: list[str] = []
        for bridge in self._bridges:
            words += ["--", "set-controller", bridge.name, CONTROLLER]
            words += ["--", "set", "controller", bridge.name, "max_backoff=1000"]
        self._vsctl("--no-wait", *words)

    def _verify(self, bridges: list[Bridge]) -> None:
        table = json.loads(
            self._vsctl("--format=json", "--columns=name,ofport,error", "list", "interface")
        )
        found = {row[0]: (row[1], row[2]) for row in table["data"]}
        for bridge in bridges:
            for interface, number in bridge.ports.items():
                port, error = found.get(interface, (None, None))
                if port != number:
                    raise RunError(
                        f"Open vSwitch attached {interface} to {bridge.name} as port {port} "
                        f"instead of {number}: {error or 'it gives no reason'}"
                    )

    def check_alive(self) -> None:
        """Raise ``ProcessError`` if a daemon has ended by itself."""
        for program, child in self._children.items():
            processes.check_alive(child, program, self._log(program))

    def ended(self) -> dict[str, int]:
        """Exit status of each daemon that has ended by itself; below 0: minus a signal's number."""
        return processes.ended(self._children)

    @property
    def pids(self) -> dict[str, int]:
        """Pids of the daemons."""
        return {program: child.pid for program, child in self._children.items()}

    def kill(self) -> None:
        """End both daemons: nobody will read the state that an orderly end would tidy."""
        for child in self._children.values():
            child.kill()

    def wait(self) -> None:
        """Wait until killed daemons are gone; closing a hundred interfaces takes them a while."""
        for child in self._children.values():
            child.wait()
        self._children.clear()


def _go_first(pid: int) -> str:
    """Let a process that has just begun, and its threads, run before others.

    In user space the daemon is the network: where it waits for a processor, pings are late and
    packets are lost that no queue would have dropped (its sockets hold but some 90). Niceness alone
    does not prevent that: it holds within a session only, where the kernel groups processes by
    session (autogroup). Not real time: two busy daemons would leave two cores to nobody else.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    except PermissionError:  # a container that may not
        return "niceness 0"
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS), encoding="ascii")
    except OSError:  # a kernel without such groups
        return f"niceness {_NICENESS}"
    return f"niceness {_NICENESS}, as its session"
