r"""The crowd-edge graph of a scenario as a Mininet ``Topo``.

The emulation builds its network from this object, and so does stock Mininet::

    sudo mn --custom topologies/crowd_edge.py --topo crowdedge,case3 \
            --switch ovsk,protocols=OpenFlow13 --link tc --controller remote

Options of hosts: ``ip``, ``mac``; of switches: ``dpid``; of links: ``port1``, ``port2``, ``bw``
(Mbps, absent on an ideal cable), ``buffer_bytes``, ``link_class`` and, where asked for, ``delay``
and ``loss`` as Mininet's TCLink takes them.
"""

from __future__ import annotations

import importlib.util
import inspect
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

# ``mn --custom`` executes this file with the system's Python and without ``__file__``: find the
# project and its environment by the name that the code was compiled under.
_ROOT = Path(inspect.getsourcefile(lambda: None) or "topologies/_").resolve().parent.parent
if importlib.util.find_spec("pydantic") is None:
    _venv = subprocess.run([_ROOT / "lab", "venv-path"], capture_output=True, text=True, check=True)
    for _packages in Path(_venv.stdout.strip()).glob("lib/python3.*/site-packages"):
        site.addsitedir(str(_packages))
if str(_ROOT) not in sys.path:
    sys.path.insert(0, str(_ROOT))

from mininet.topo import Topo  # noqa: E402

from model.addressing import PREFIX_LENGTH, datapath_id, host_ip, host_mac, port_number  # noqa: E402
from model.network import Link, Network, build_network  # noqa: E402
from model.scenario import Scenario  # noqa: E402
from model.scenario.load import load_scenario  # noqa: E402


def link_options(network: Network, link: Link) -> dict[str, Any]:
    """Mininet's options for the cable of ``link``, from ``link.source`` to ``link.target``."""
    options: dict[str, Any] = {}
    if not network.nodes[link.source].is_unit:
        options["port1"] = port_number(network, link.source, link.target)
    if not network.nodes[link.target].is_unit:
        options["port2"] = port_number(network, link.target, link.source)
    if link.spec is None:
        return options
    options |= {"bw": link.spec.rate_mbps, "link_class": link.link_class}
    options["buffer_bytes"] = round(link.spec.buffer_mb * 1e6)
    if link.spec.delay_ms:
        options["delay"] = f"{link.spec.delay_ms}ms"
    if link.spec.loss_percent:
        options["loss"] = link.spec.loss_percent
    return options


class CrowdEdgeTopo(Topo):  # type: ignore[misc]  # Mininet carries no types
    """Base stations, edge servers, clusters of devices (and the cloud) of a scenario."""

    def build(self, scenario: str | Scenario = "case3", **_: object) -> None:
        """Called by ``Topo.__init__`` with the constructor's arguments.

        Raises ``model.errors.ScenarioError`` for a scenario that does not exist or is not valid.
        """
        self.scenario = load_scenario(scenario) if isinstance(scenario, str) else scenario
        self.network = build_network(self.scenario)
        for node in self.network.switches:
            self.addSwitch(
                node.name, dpid=f"{datapath_id(self.network, node):016x}", protocols="OpenFlow13"
            )
        for node in self.network.units:
            address = f"{host_ip(self.network, node)}/{PREFIX_LENGTH}"
            self.addHost(node.name, ip=address, mac=host_mac(self.network, node))
        done: set[str] = set()
        for link in self.network.links.values():
            if link.cable not in done:
                done.add(link.cable)
                self.addLink(link.source, link.target, **link_options(self.network, link))


topos = {"crowdedge": CrowdEdgeTopo}
