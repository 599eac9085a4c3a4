"""The processes of a run: controller, spawner, node processes; brought up, watched, taken down."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from emulation.host import processes
from emulation.host.commands import ProcessError
from emulation.host.cpu_quota import Shares
from emulation.host.ledger import Ledger
from emulation.host.netlink import namespace_path
from emulation.host.uids import first_uid
from emulation.network.fabric import FABRIC, Fabric, process_environment
from emulation.network.openvswitch import CONTROLLER
from emulation.options import RunOptions
from emulation.orchestrator.briefer import Briefer
from emulation.orchestrator.cells import cells
from emulation.orchestrator.clip_cache import prepare
from emulation.orchestrator.spawner_client import SpawnerLink
from emulation.protocol.json_channel import Channel
from emulation.protocol.link_limits import first_exchanges
from emulation.protocol.messages import NodeConfig, guest_name
from emulation.sandbox.guest_limits import GuestLimits
from emulation.sandbox.policy_files import hidden_folders, is_users
from model.compute import frequency_trace
from model.controller_messages import Event, Installed, Listening, decode_event, encode
from model.errors import UserError
from model.network import Network, Node, build_network
from model.workload import generate_trace
from topologies.crowd_edge import CrowdEdgeTopo

PROJECT = Path(__file__).resolve().parent.parent.parent
_ANSWER_TIMEOUT_S = 60.0
"""For a process that lives; a dead one is noticed at once. A machine that is emulated in software
takes 15 s and more to import the controller."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How long a part of bring-up took, real s."""

    name: str
    seconds: float


class Machinery:
    """Everything of a run that is not bookkeeping.

    Attributes:
        fabric: the network.
        controller: channel to the controller.
        nodes: channel to each host's process, by name.
        first_exchanges_s: what all first pings and connections may take, real s.
        phases: what bring-up did, and how long it took.
    """

    def __init__(self, options: RunOptions, ledger: Ledger, network: Network | None = None):
        self.options, self.ledger = options, ledger
        self.network = network or build_network(options.scenario)
        topo = CrowdEdgeTopo(scenario=options.scenario)
        self.fabric = Fabric(topo, ledger, options.datapath, options.speedup)
        first = first_exchanges(options.scenario, self.network, options.speedup)
        self.first_exchanges_s = first.total_s
        self.nodes: dict[str, Channel] = {}
        self.pids: dict[str, tuple[int, ...]] = {}
        self.shares: Shares | None = None
        self.guest_limits: GuestLimits | None = None
        self._content = ""
        self.phases: list[Phase] = []
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._sockets: list[socket.socket] = []

    def bring_up(self, progress: Callable[[str], None]) -> None:
        """Build the network and start every process.

        Raises ``UserError`` or ``RunError``; what was made is in the ledger.
        """
        if self.options.scenario.clips is not None:
            progress("preparing clips")
            self._timed("clips", lambda: self._prepare_clips(progress))
        progress("starting the nodes' parent")
        self._timed("spawner", self._start_spawner)
        progress("building the network")
        self.bring_network_up()
        progress("starting the nodes")
        self._timed("nodes", self._spawn_nodes)

    def _prepare_clips(self, progress: Callable[[str], None]) -> None:
        scenario = self.options.scenario
        assert scenario.clips is not None  # noqa: S101 - for the type checker: asked before
        self._content = str(prepare(scenario.clips, progress))
        compute = scenario.compute
        cores = {
            unit.name: frequency_trace(scenario, self.options.seed, unit).max_ghz / compute.core_ghz
            for unit in self.network.units
        }
        try:
            self.shares = Shares(self.ledger, cores)
        except OSError as error:
            raise UserError(f"the machine's CPU cannot be shared out: {error}") from error

    def bring_network_up(self) -> None:
        """The network alone: built, shaped, verified, switches connected, flows installed.

        The controller starts while the network is being built: importing takes it longer.
        """
        self._timed("controller", self._start_controller)
        self._timed("network", self.fabric.build)
        self._timed("flows", self._install_flows)

    def _install_flows(self) -> None:
        self._await_controller(Listening)
        self.fabric.switch.connect()
        self._await_controller(Installed)

    def _await_controller(self, event: type[Event]) -> None:
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        with self._answering("the controller", f"is not {event.__name__.lower()}"):
            while not isinstance(self.controller.receive(deadline - time.monotonic()), event):
                continue

    @contextmanager
    def _answering(self, what: str, how: str) -> Iterator[None]:
        """Raise ``ProcessError`` where a process does not answer within the block."""
        try:
            yield
        except (TimeoutError, ConnectionError) as error:
            time.sleep(0.1)  # let a process that is dying say its last words
            self.check_alive()
            raise ProcessError(what, how, str(error)) from error

    def _timed(self, name: str, step: Callable[[], None]) -> None:
        begin = time.monotonic()
        step()
        self.phases.append(Phase(name, time.monotonic() - begin))

    def _environment(self) -> dict[str, str]:
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        kept = {k: os.environ[k] for k in ("PYTHONDONTWRITEBYTECODE",) if k in os.environ}
        return {
            **process_environment(self.ledger),
            **quiet,
            **kept,
            "PYTHONPATH": str(PROJECT),
            "LANG": "C.UTF-8",
        }

    def _start_controller(self) -> None:
        path = self.ledger.directory / "scenario.json"
        path.write_text(self.options.scenario.model_dump_json())
        where = CONTROLLER.removeprefix("tcp:")
        arguments = ["--scenario", str(path), "--openflow", self.options.openflow]
        arguments += ["--api", str(self.ledger.directory)]
        arguments += ["--listen", where, "--arp", "off", "--events-fd"]
        handle = self._start("controller", arguments, FABRIC)
        self.controller = Channel("controller", handle, decode_event, encode)

    def _start_spawner(self) -> None:
        handle = self._start("spawner", ["--control-fd"], None)
        self.ledger.gather(self._children["spawner"].pid)
        self._spawner = SpawnerLink(handle, _ANSWER_TIMEOUT_S)

    def _spawn_nodes(self) -> None:
        # Where work is real, what each device uses of the machine is measured by its process.
        real = self.options.scenario.compute.work != "timed"
        if is_users(self.options.policy) and not self.options.stepped:
            self.guest_limits = GuestLimits(self.ledger)
        self._spawn(cells(self.network, apart=real))

    def _spawn(self, groups: Sequence[Sequence[Node]]) -> None:
        options, network = self.options, self.network
        first = first_uid(self.ledger.run_id)
        trace = generate_trace(options.scenario, options.seed, network)
        briefer = Briefer(
            options.scenario, network, trace, options.seed, options.speedup, content=self._content
        )
        policy, params, stepped = options.policy, options.policy_params, options.stepped
        processes = [
            [
                (
                    self._config(n, first + network.units.index(n)),
                    briefer.brief(n.name, policy, params, stepped=stepped),
                )
                for n in units
            ]
            for units in groups
        ]
        with self._answering("the nodes' parent", "did not answer"):
            for node in self._spawner.spawn(processes):
                self.nodes[node.name] = Channel(node.name, node.control)
                self.pids[node.name] = (node.pid, *filter(None, (node.worker, node.guest)))
                if node.worker and self.shares is not None:
                    self.shares.place(node.name, node.worker)
                if node.guest and self.guest_limits is not None:
                    self.guest_limits.place(node.guest)

    def _config(self, node: Node, uid: int) -> NodeConfig:
        return NodeConfig(
            name=node.name,
            policy=self.options.policy if self._has_policy(node) else "",
            checkpoint=self._checkpoint if self._has_policy(node) else "",
            netns=namespace_path(self.fabric.namespaces[node.name]),
            uid=uid,
            gid=uid,
            hidden=self._hidden(),
            worker=self.options.scenario.compute.work == "ffmpeg",
            guest=self._has_policy(node) and is_users(self.options.policy),
            files=self._files if self._has_policy(node) else (),
        )

    @property
    def _files(self) -> tuple[str, ...]:
        """The files that the policy's parameters name."""
        values = self.options.policy_params.values()
        return tuple(v for v in values if isinstance(v, str) and Path(v).is_absolute())

    def _has_policy(self, node: Node) -> bool:
        return node.kind == "device" and not self.options.stepped

    @property
    def _checkpoint(self) -> str:
        return str(self.options.policy_params.get("checkpoint", ""))

    def _hidden(self) -> tuple[str, ...]:
        return hidden_folders(self.options.out, self.options.scenario.name)

    def begin(self) -> None:
        """The first slot comes."""
        if self.guest_limits is not None:
            self.guest_limits.begin()

    @property
    def missing_walls(self) -> dict[str, str]:
        """Which walls around nodes this machine lacks, and why."""
        return self._spawner.walls

    def end_node(self, name: str) -> None:
        """End the process that carries a node at once, and with it the others that it carries."""
        self._spawner.end(name)

    def end_policy(self, device: str) -> str | None:
        """End the process of a device's policy at once; returns how it had ended before, if so."""
        ended = self.how_ended(guest_name(device))
        self._spawner.end(guest_name(device))
        return ended

    def _start(self, name: str, arguments: list[str], label: str | None) -> socket.socket:
        """Start one of our programs with a socket whose number is its last argument."""
        ours, theirs = socket.socketpair()
        module = {"controller": "controller.process", "spawner": "emulation.sandbox.spawner"}[name]
        with theirs:
            self._children[name] = processes.start(
                [sys.executable, "-m", module, *arguments, str(theirs.fileno())],
                environment=self._environment(),
                log=self._log(name),
                namespace=self.fabric.namespaces[label] if label else None,
                pass_fds=[theirs.fileno()],
            )
        return ours

    def _log(self, name: str) -> Path:
        return self.ledger.directory / f"{name}.log"

    def check_alive(self) -> None:
        """Raise ``ProcessError`` if a process that no run can do without has ended by itself."""
        for name, child in self._children.items():
            processes.check_alive(child, name, self._log(name))
        self.fabric.switch.check_alive()

    def ended(self) -> dict[str, int]:
        """Exit status of each process that has ended; below 0: minus a signal's number.

        Of nodes only the edges and the cloud: a device's policy has its state, which is gone.
        """
        return processes.ended(self._children) | self.fabric.switch.ended() | self._servers_ended()

    def _servers_ended(self) -> dict[str, int]:
        servers = {n.name for n in self.network.units if n.kind != "device"}
        return {name: status for name, status in self._exits().items() if name in servers}

    def _exits(self) -> dict[str, int]:
        with suppress(ConnectionError):  # the spawner has gone, which ``check_alive`` tells
            return self._spawner.poll_exits()
        return {}

    def restart(self, name: str) -> None:
        """Start a process again that has ended, any but the spawner and the devices."""
        if name == "controller":
            self.controller.close()
            self._start_controller()
        elif name in self.nodes:
            self._spawner.exited.pop(name)
            self.nodes[name].close()
            self._spawn([[self.network.nodes[name]]])
        else:
            self.fabric.switch.spawn(name)

    def how_ended(self, node: str) -> str | None:
        """How a node's process ended, in words; None: it has not, as far as is known."""
        status = self._exits().get(node)
        return None if status is None else processes.describe_end(status)

    def keep_logs(self, folder: Path) -> None:
        """Copy what the processes said into a folder; empty logs are left out."""
        for log in (*self.ledger.directory.glob("*.log"), *self.ledger.directory.glob("ovs/*.log")):
            if log.stat().st_size:
                (folder / "logs").mkdir(exist_ok=True)
                shutil.copy(log, folder / "logs" / log.name)

    def tear_down(self) -> None:
        """Stop every process; safe at any time, however far bring-up came."""
        self.fabric.kill()
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            processes.stop(child)
        self.fabric.close()
