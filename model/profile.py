"""What a device is told about itself and its choices before a run."""

from __future__ import annotations

from model.compute import device_max_ghz, price
from model.errors import ScenarioError
from model.network import Network, Node
from model.observation import DeviceProfile, TargetKind
from model.scenario import Scenario


def target_kind(node: Node, device: str) -> TargetKind:
    """Kind of a unit as a target of a device: ``self`` for the device itself."""
    if node.name == device:
        return "self"
    if node.kind == "edge":
        return "edge"
    return "cloud" if node.kind == "cloud" else "device"


def device_profile(scenario: Scenario, network: Network, device: str) -> DeviceProfile:
    """The profile of one device: targets are itself, its cell's devices, the edges, (the cloud).

    Raises ``ScenarioError`` if ``device`` is no device of the network.
    """
    own = network.nodes.get(device)
    if own is None or own.kind != "device":
        first, last = network.devices[0].name, network.devices[-1].name
        raise ScenarioError(
            f"'{device}' is no device of {scenario.name}; they are {first} … {last}"
        )
    targets = network.targets(device)
    nodes = [network.nodes[name] for name in targets]
    own_edge = next(k for k, n in enumerate(nodes) if n.kind == "edge" and n.cell == own.cell)
    decision = scenario.decision
    return DeviceProfile(
        name=device,
        targets=targets,
        kinds=tuple(target_kind(n, device) for n in nodes),
        own_edge=own_edge,
        prices=tuple(price(scenario, n) for n in nodes),
        rates_mbps=decision.rates_mbps,
        min_rate_mbps=decision.min_rate_mbps,
        max_rate_mbps=decision.max_rate_mbps,
        alpha=decision.alpha,
        beta=decision.beta,
        slot_s=scenario.slot_s,
        max_ghz=device_max_ghz(scenario, own),
    )
