"""What the API answers.

All quantities are scenario quantities, as in a result folder: at speed-up k a real byte stands for
k bytes, and a real second for k seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from model.network import NodeKind
from model.scenario import LinkClass

Status = Literal["waiting", "running", "ended"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was refused."""

    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the experiment stands."""

    status: Annotated[Status, Field(description="waiting: no slot has ended yet")]
    scenario: str
    slot: Annotated[int | None, Field(description="the last slot that has ended; the first is 0")]
    slots: Annotated[int, Field(description="slots of the scenario")]
    speedup: Annotated[float | None, Field(description="null before the slots have begun")]
    age_s: Annotated[float | None, Field(description="real s since links were last looked at")]
    switches: Annotated[dict[str, bool], Field(description="switch → connected")]
    cables_down: list[str]
    reroutes: Annotated[int, Field(description="times that flows were moved to other paths")]
    streams: Annotated[int, Field(description="clients of /stream")]


@dataclass(frozen=True, slots=True)
class TopologyNode:
    """A node of the graph; ``cell``: the base station that serves it."""

    name: str
    kind: NodeKind
    cell: str
    cluster: str
    position_m: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TopologyLink:
    """One direction of a cable, as the scenario has it."""

    name: str
    source: str
    target: str
    cable: str
    link_class: Annotated[LinkClass | None, Field(description="null: an ideal cable, not shaped")]
    rate_mbps: float | None


@dataclass(frozen=True, slots=True)
class Topology:
    """The graph of the scenario."""

    scenario: str
    nodes: list[TopologyNode]
    links: list[TopologyLink]


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link at the end of a slot."""

    link: Annotated[str, Field(examples=["c1d1>bs1"])]
    link_class: LinkClass | None
    rate_mbps: Annotated[float, Field(description="c_l, now")]
    backlog_bytes: Annotated[float, Field(description="V_l, measured in the queue")]
    virtual_backlog_bytes: Annotated[float, Field(description="V_l of eq. (2)")]
    sent_bytes: Annotated[float, Field(description="in this slot")]
    drops: Annotated[int, Field(description="packets refused in this slot")]
    load_s: Annotated[float, Field(description="V_l / c_l, of the measured V_l")]
    utilisation: Annotated[float, Field(description="sent / (c_l Δt)")]
    up: bool


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit at the end of a slot, as it reports itself."""

    unit: str
    kind: NodeKind
    queue_ghz_s: Annotated[float, Field(description="Q_u")]
    ghz: Annotated[float, Field(description="F_u")]
    load_s: Annotated[float | None, Field(description="Q_u / F_u; null where F_u is 0")]
    busy_share: Annotated[float, Field(description="share of the slot spent serving")]


@dataclass(frozen=True, slots=True)
class Links:
    """All shaped links at the end of a slot; none before the first slot has ended."""

    slot: int | None
    links: list[LinkState]


@dataclass(frozen=True, slots=True)
class Units:
    """All units that have reported on a slot; none before the first slot has ended."""

    slot: int | None
    units: list[UnitState]


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """A flow of a switch; without output, goto and to_controller it drops."""

    switch: str
    table: int
    priority: int
    match: dict[str, int | str]
    rewrite: dict[str, str]
    output: Annotated[str | None, Field(description="the neighbour behind the port")]
    goto: int | None
    to_controller: bool


@dataclass(frozen=True, slots=True)
class Flows:
    """Flows as installed, barriers answered."""

    flows: list[FlowEntry]


@dataclass(slots=True)
class SlotState:
    """A slot that has ended; units come a moment after links."""

    slot: int
    links: list[LinkState]
    units: list[UnitState]


@dataclass(frozen=True, slots=True)
class History:
    """The last slots, oldest first."""

    slots: list[SlotState]
