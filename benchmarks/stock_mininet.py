"""Bring-up of a scenario's graph by stock Mininet, as the yardstick of ``./lab bench bringup``.

Run as a program of its own inside fresh network and mount namespaces, with a private Open vSwitch
there, so that nothing of what Mininet leaves behind reaches the machine. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from mininet.link import TCLink
from mininet.net import Mininet
from mininet.node import OVSSwitch

from emulation.host.commands import run
from emulation.network.openvswitch import SCHEMA
from topologies.crowd_edge import CrowdEdgeTopo


def _start_open_vswitch(directory: Path) -> None:
    """Daemons in ``directory``, to which ``ovs-vsctl`` is led by OVS_RUNDIR."""
    for variable in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"):
        os.environ[variable] = str(directory)
    database = str(directory / "conf.db")
    run(["ovsdb-tool", "create", database, str(SCHEMA)])
    remote = f"--remote=punix:{directory}/db.sock"
    run(["ovsdb-server", database, remote, "--detach", "--pidfile", "--log-file", "--no-chdir"])
    run(["ovs-vsctl", "--no-wait", "init"])
    run(["ovs-vswitchd", "--detach", "--pidfile", "--log-file", "--no-chdir"])


def _stop_open_vswitch(directory: Path) -> None:
    for daemon in ("ovs-vswitchd", "ovsdb-server"):
        os.kill(int((directory / f"{daemon}.pid").read_text()), 15)


def main(scenario: str, datapath: str) -> None:
    """Build, start and stop; the seconds of each go to standard output."""
    with tempfile.TemporaryDirectory(prefix="crowd-edge-stock-") as folder:
        _start_open_vswitch(Path(folder))
        try:
            topo = CrowdEdgeTopo(scenario=scenario)
            begin = time.monotonic()
            net = Mininet(
                topo=topo,
                switch=OVSSwitch,
                link=TCLink,
                controller=None,
                build=False,
                autoPinCpus=False,
            )
            for switch in topo.switches():
                topo.nodeInfo(switch)["datapath"] = datapath
            net.build()
            built = time.monotonic()
            net.start()
            started = time.monotonic()
            net.stop()
            stopped = time.monotonic()
        finally:
            _stop_open_vswitch(Path(folder))
    seconds = {"build_s": built - begin, "start_s": started - built, "stop_s": stopped - started}
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
