"""Where real work is done: delay, traffic, CPU and memory of a run by role, as the paper has them.

A device has two roles. As *client* it makes clips: it transcodes some itself and sends the others
away. As *MD* it transcodes what the other devices of its cell send it. *Edge* is an edge server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metrics.summary import NAN, delays_s
from model.aliases import FloatArray
from model.errors import UserError
from model.network import Network, build_network
from records.reader import Result

ROLES = {"client": "self", "edge": "edge", "md": "device"}
"""Role → the kind of target at which its clips are transcoded, as seen from their device."""


@dataclass(frozen=True, slots=True)
class Prototype:
    """Figures of one run; NaN for a role in which nobody had anything to do.

    Attributes:
        delay_s: mean E by role: of clips transcoded at home, at an edge server, at an MD, s; clips
            without a result are charged until the end of the run.
        in_mbps, out_mbps: clips and results received and sent by role, per node, Mbps.
        coder_share: CPU time of FFmpeg by role, per node, in cores.
        cpu_share, memory_mb: of whole nodes by kind (device, edge), from the monitor: CPU in cores,
            memory in MB, means over nodes and slots.
        traffic_mbps: bytes in and out of all nodes' interfaces, from the monitor, per node, Mbps.
    """

    delay_s: dict[str, float] = field(default_factory=dict)
    in_mbps: dict[str, float] = field(default_factory=dict)
    out_mbps: dict[str, float] = field(default_factory=dict)
    coder_share: dict[str, float] = field(default_factory=dict)
    cpu_share: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    traffic_mbps: float = NAN


def prototype_of(result: Result, duration_s: float) -> Prototype:
    """The figures of an emulation of real work. Raises ``UserError`` if it is none."""
    if result.scenario.compute.work == "timed":
        raise UserError(f"{result.folder}: no work was really done in this run")
    network = build_network(result.scenario)
    clips, used = result.table("transcodes"), result.table("resources")
    return Prototype(
        delay_s=_delays(result.table("tasks"), duration_s),
        **_traffic(clips, network, duration_s),
        coder_share=_coder(clips, network, duration_s),
        **_monitored(used, result.scenario.slot_s),
    )


def _delays(tasks: pa.Table, end_s: float) -> dict[str, float]:
    delay = delays_s(tasks, end_s)
    kinds = np.asarray(tasks["target_kind"].to_pylist(), dtype=object)
    born = tasks["born_s"].to_numpy() <= end_s
    return {role: _mean(delay[born & (kinds == kind)]) for role, kind in ROLES.items()}


def _traffic(clips: pa.Table, network: Network, end_s: float) -> dict[str, Any]:
    arrived = {k: _sum(clips, k, "data_bytes") for k in ("device", "edge")}
    returned = {k: _sum(clips, k, "result_bytes") for k in ("device", "edge")}
    per = {k: 8e-6 / (len(network.of_kind(k)) * end_s) for k in ("device", "edge")}
    return {
        "in_mbps": {
            "client": sum(returned.values()) * per["device"],
            "edge": arrived["edge"] * per["edge"],
            "md": arrived["device"] * per["device"],
        },
        "out_mbps": {
            "client": sum(arrived.values()) * per["device"],
            "edge": returned["edge"] * per["edge"],
            "md": returned["device"] * per["device"],
        },
    }


def _coder(clips: pa.Table, network: Network, end_s: float) -> dict[str, float]:
    nodes = {"client": "device", "edge": "edge", "md": "device"}
    return {
        role: _sum(clips, kind, "cpu_s") / (len(network.of_kind(nodes[role])) * end_s)  # type: ignore[arg-type]
        for role, kind in ROLES.items()
    }


def _monitored(used: pa.Table, slot_s: float) -> dict[str, Any]:
    kinds = sorted(set(used["kind"].to_pylist()))
    of = {kind: used.filter(pc.equal(used["kind"], kind)) for kind in kinds}
    both = pc.add(used["received_bytes"], used["sent_bytes"])
    return {
        "cpu_share": {k: _mean(t["cpu_s"].to_numpy()) / slot_s for k, t in of.items()},
        "memory_mb": {k: _mean(t["memory_mb"].to_numpy()) for k, t in of.items()},
        "traffic_mbps": 8e-6 * _mean(both.to_numpy()) / slot_s,
    }


def _sum(clips: pa.Table, kind: str, column: str) -> float:
    return float(pc.sum(clips.filter(pc.equal(clips["target_kind"], kind))[column]).as_py() or 0.0)


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else NAN
