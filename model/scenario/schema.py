"""The scenario: everything that defines an experiment, validated.

A scenario is data (YAML under ``scenarios/``). Every value has a unit in its name or its
description and the default of the paper or, where the paper is silent, of ``docs/model.md``.
Units: s, GHz, GHz·s (work), MB = 10^6 byte (data), Mbps = 10^6 bit/s.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

NODE_NAME = r"^[a-z][a-z0-9]{0,5}$"
"""Node names stay within 6 characters: an interface is named after both of its ends, ``c2d3-bs1``,
and Linux allows 15 characters."""

MAX_LINK_MBPS = 100_000
MIN_LINK_MBPS = 0.001
MIN_BUILT_MBPS = 0.01
"""A link that an experiment begins with carries the first pings within seconds; later it may have
next to nothing."""
Positive = Annotated[float, Field(ge=1e-6, le=1e9)]
NonNegative = Annotated[float, Field(ge=0, le=1e9)]
"""What lies beyond is a slip of the pen, and would overflow where such numbers are multiplied."""
LinkMbps = Annotated[float, Field(ge=MIN_LINK_MBPS, le=MAX_LINK_MBPS)]
SendingMbps = Annotated[float, Field(ge=MIN_LINK_MBPS, le=MAX_LINK_MBPS)]
"""A rate x: the kernel paces in whole bytes per second, a hundred of which are precise enough."""
Probability = Annotated[float, Field(ge=0, le=1)]
FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
"""Of a scenario or a sweep: folders of results are named after it."""
NodeName = Annotated[str, Field(pattern=NODE_NAME)]
LinkClass = Literal["e2e", "e2d", "access", "backbone"]
LINK_CLASSES: tuple[LinkClass, ...] = get_args(LinkClass)
"""In the order of tables and legends, and of a critic's input: another order would make states of
trainings useless."""


class Section(BaseModel):
    """Base of every part of a scenario: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LinkSpec(Section):
    """One class of links; full duplex, each direction a FIFO of its own."""

    rate_mbps: Annotated[float, Field(ge=MIN_BUILT_MBPS, le=MAX_LINK_MBPS)] = Field(
        description="capacity c_l of each direction, Mbps, on the wire"
    )
    delay_ms: Annotated[float, Field(ge=0, le=60_000)] = Field(
        0.0, description="one-way propagation delay, ms (needs netem)"
    )
    loss_percent: Annotated[float, Field(ge=0, lt=100)] = Field(
        0.0, description="random loss, % (needs netem)"
    )
    buffer_mb: Annotated[float, Field(ge=0.01, le=4_000)] = Field(
        4.0, description="byte limit of the FIFO, MB (at least a few packets)"
    )


class BaseStationSpec(Section):
    """A base station (an OpenFlow switch) with one edge server."""

    name: NodeName
    edge: NodeName = Field(description="name of the edge server at this base station")


class ClusterSpec(Section):
    """A cluster of mobile devices in the cell of a base station."""

    name: NodeName
    bs: NodeName = Field(description="base station that serves the cluster")
    devices: Annotated[int, Field(ge=1, le=99)] | tuple[int, int] = Field(
        (5, 10), description="number of devices, or [low, high] drawn by topology_seed"
    )

    @model_validator(mode="after")
    def _range_in_order(self) -> ClusterSpec:
        if isinstance(self.devices, tuple):
            low, high = self.devices
            if not 1 <= low <= high <= 99:
                raise ValueError(f"devices [{low}, {high}] must satisfy 1 <= low <= high <= 99")
        return self


def _paper_base_stations() -> tuple[BaseStationSpec, ...]:
    return tuple(BaseStationSpec(name=f"bs{k}", edge=f"e{k}") for k in (1, 2, 3))


def _paper_clusters() -> tuple[ClusterSpec, ...]:
    return tuple(ClusterSpec(name=f"c{k}", bs=f"bs{(k + 1) // 2}") for k in range(1, 7))


class NetworkSpec(Section):
    """The network of Section VI-A of the paper: 3 base stations, 6 clusters, 30/10 Mbps."""

    base_stations: tuple[BaseStationSpec, ...] = Field(default_factory=_paper_base_stations)
    clusters: tuple[ClusterSpec, ...] = Field(default_factory=_paper_clusters)
    backbone_topology: Literal["mesh", "line", "ring"] = Field(
        "mesh", description="how base stations are joined (E2E links)"
    )
    wireless_scope: Literal["device", "cluster"] = Field(
        "device",
        description="device: each MD has its own E2D link; cluster: the MDs of one cluster share "
        "one E2D link per direction",
    )
    e2e: LinkSpec = LinkSpec(rate_mbps=30)
    access: LinkSpec = LinkSpec(rate_mbps=30)
    e2d: LinkSpec = LinkSpec(rate_mbps=10)
    backbone: LinkSpec = LinkSpec(rate_mbps=30, delay_ms=50)
    area_m: tuple[Positive, Positive] = Field(
        (300.0, 900.0), description="area, m × m (for drawing)"
    )
    topology_seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="draws cluster sizes, positions and F_max"
    )

    def link(self, link_class: LinkClass) -> LinkSpec:
        """The spec of a class of links."""
        specs = {"e2e": self.e2e, "e2d": self.e2d, "access": self.access, "backbone": self.backbone}
        return specs[link_class]

    @property
    def overflow_rate_mbps(self) -> float:
        """Rate at which edges pass tasks on to the cloud: as fast as their path there allows."""
        return min(self.access.rate_mbps, self.backbone.rate_mbps)

    @model_validator(mode="after")
    def _names_fit(self) -> NetworkSpec:
        stations = [b.name for b in self.base_stations]
        names = stations + [b.edge for b in self.base_stations] + [c.name for c in self.clusters]
        if not stations:
            raise ValueError("base_stations: at least one is needed")
        if not self.clusters:
            raise ValueError("clusters: at least one is needed")
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"node name used twice: {', '.join(twice)}")
        reserved = sorted({"cloud", "core"} & set(names))
        if reserved:
            raise ValueError(f"the name '{reserved[0]}' is reserved")
        for k, cluster in enumerate(self.clusters):
            if cluster.bs not in stations:
                raise ValueError(
                    f"clusters.{k}.bs: base station '{cluster.bs}' does not exist; "
                    f"there are {', '.join(stations)}"
                )
            highest = cluster.devices if isinstance(cluster.devices, int) else cluster.devices[1]
            longest = f"{cluster.name}d{highest}"
            if len(longest) > 6:
                raise ValueError(
                    f"clusters.{k}.name: device name '{longest}' has more than 6 characters "
                    "(an interface name may have 15); choose a shorter cluster name"
                )
        return self


class RepresentationSpec(Section):
    """A way in which video is coded, and what it costs to transcode from it.

    The work of a clip is ``start_ghz_s + ghz * duration``; ``./lab calibrate livecast`` fits both.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]{1,12}$")] = Field(description="e.g. 1080p60")
    height: Annotated[int, Field(ge=16, le=4320)] = Field(description="lines; 16:9")
    fps: Annotated[int, Field(ge=1, le=120)] = Field(description="frames per second")
    rate_mbps: Positive = Field(description="bytes of video per time, Mbps")
    to: str | None = Field(
        None, description="what its clips are transcoded to; none: no device has such clips"
    )
    start_ghz_s: NonNegative = Field(0.0, description="work of a clip of no length, GHz·s")
    ghz: NonNegative = Field(0.0, description="work per second of clip, GHz·s/s")


class ClipsSpec(Section):
    """The clips that tasks are about, where work is done by FFmpeg."""

    representations: Annotated[tuple[RepresentationSpec, ...], Field(min_length=1)] = Field(
        description="all that clips have or get; a task's is any of those with `to`"
    )
    duration_s: tuple[Positive, Positive] = Field((2.0, 10.0), description="U[low, high], s")
    versions: Annotated[int, Field(ge=1, le=100)] = Field(
        4, description="clips that are prepared of each representation"
    )
    picture_scale: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="of width and height; rates scale with the area, so that a small machine "
        "carries the scenario",
    )

    @model_validator(mode="after")
    def _ladder_fits(self) -> ClipsSpec:
        low, high = self.duration_s
        if low > high:
            raise ValueError("duration_s: low must not exceed high")
        names = [r.name for r in self.representations]
        if len(set(names)) < len(names):
            raise ValueError("representations: a name is used twice")
        for k, r in enumerate(self.representations):
            if r.to is not None and r.to not in names:
                raise ValueError(f"representations.{k}.to: '{r.to}' is none of {', '.join(names)}")
        if all(r.to is None for r in self.representations):
            raise ValueError("representations: at least one must say what it is transcoded `to`")
        return self


class WorkloadSpec(Section):
    """Task generation, Section VI-A: epochs spaced U[low, high] s with Poisson(λ1) tasks each."""

    tasks_per_epoch: Annotated[float, Field(gt=0, le=10_000)] = Field(
        description="λ1: mean number of tasks per epoch"
    )
    work_ghz_s: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        description="λ2: mean of s, GHz·s (Poisson)"
    )
    data_mb: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        description="λ3: mean of o, MB (Poisson)"
    )
    epoch_gap_s: tuple[Positive, Positive] = Field((5.0, 20.0), description="U[low, high], s")
    arrival: Literal["spread", "burst"] = Field(
        "spread",
        description="spread: tasks fall uniformly in the gap to the next epoch; burst: all at once",
    )

    @model_validator(mode="after")
    def _gap_in_order(self) -> WorkloadSpec:
        if self.epoch_gap_s[0] > self.epoch_gap_s[1]:
            raise ValueError("epoch_gap_s: low must not exceed high")
        return self


class DeviceCompute(Section):
    """F_m(t) of a device: F_max while idle, a fraction of it while its owner uses it."""

    max_ghz: tuple[Positive, Positive] = Field((4.0, 10.0), description="F_max ~ U[low, high]")
    busy_fraction: Annotated[float, Field(ge=1e-6, le=1)] = Field(
        0.15, description="F / F_max while the owner uses the device"
    )
    idle_probability: Probability = Field(0.65, description="long-run share of idle time")
    busy_dwell_s: Positive = Field(40.0, description="mean length of a busy period, s")

    @model_validator(mode="after")
    def _low_before_high(self) -> DeviceCompute:
        if self.max_ghz[0] > self.max_ghz[1]:
            raise ValueError("max_ghz: low must not exceed high")
        if self.idle_probability == 0.0:
            raise ValueError("idle_probability: must exceed 0 (a device that is never idle)")
        return self


class WorkersSpec(Section):
    """How many tasks a unit works on at once, where work is real."""

    device: Annotated[int, Field(ge=1, le=16)] = Field(1, description="on a device")
    edge: Annotated[int, Field(ge=1, le=64)] = Field(2, description="on an edge server")


class ComputeSpec(Section):
    """Computation units and their prices R_u per GHz·s."""

    work: Literal["timed", "ffmpeg"] = Field(
        "timed",
        description="timed: a task takes s/F; ffmpeg: it is a clip that is really transcoded, by "
        "so many cores as F / core_ghz (emulation; the simulator goes by s/F)",
    )
    core_ghz: Positive = Field(
        50.0, description="ffmpeg: GHz that a whole core of this machine stands for"
    )
    workers: WorkersSpec = WorkersSpec()

    device: DeviceCompute = DeviceCompute()
    edge_ghz: Positive = Field(30.0, description="F_e, GHz")
    cloud_ghz: Positive = Field(200.0, description="F of the cloud, GHz")
    device_price: NonNegative = Field(1.0, description="R_u of a device")
    edge_price: NonNegative = Field(2.0, description="R_u of an edge server")
    cloud_price: NonNegative = Field(4.0, description="R_u of the cloud")


class CloudSpec(Section):
    """Whether there is a cloud behind the backbone, and who sends tasks to it."""

    mode: Literal["none", "overflow", "target"] = Field(
        "none",
        description="none; overflow: an edge whose queue exceeds a threshold forwards the task; "
        "target: agents may choose the cloud",
    )
    overflow_queue_s: Positive = Field(
        10.0, description="overflow: forward when Q_u/F_u of the edge exceeds this, s"
    )


DECISION_LIMIT_SLOTS = 0.1
"""A task waits for its decision a tenth of a slot, if the scenario does not say otherwise."""


class DecisionSpec(Section):
    """What a decision may be and what it costs, eqs. (7)-(8)."""

    rates_mbps: Annotated[tuple[SendingMbps, ...], Field(min_length=1)] = Field(
        (2.5, 5.0, 7.5, 10.0), description="rates x a learner chooses from, Mbps on the wire"
    )
    min_rate_mbps: SendingMbps = Field(1.0, description="lower end of a continuous rate, Mbps")
    max_rate_mbps: SendingMbps = Field(10.0, description="x_max, Mbps")
    alpha: Probability = Field(1.0, description="weight α of the delay, 1/s")
    beta: Probability = Field(0.01, description="weight β of the resource fee R_u·s")
    compute_status: Literal["hidden", "observed"] = Field(
        "hidden", description="may agents see Q_u and F_u of their targets (the paper's case 1)?"
    )
    limit_slots: Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)] = Field(
        DECISION_LIMIT_SLOTS,
        description="how long a task waits for a user's policy to decide, in slots (emulation)",
    )

    @model_validator(mode="after")
    def _rates_within_limits(self) -> DecisionSpec:
        if max(self.rates_mbps) > self.max_rate_mbps:
            raise ValueError("rates_mbps: no rate may exceed max_rate_mbps")
        if self.min_rate_mbps > self.max_rate_mbps:
            raise ValueError("min_rate_mbps: must not exceed max_rate_mbps")
        if min(self.rates_mbps) < self.min_rate_mbps:
            raise ValueError("rates_mbps: no rate may be below min_rate_mbps")
        if list(self.rates_mbps) != sorted(set(self.rates_mbps)):
            raise ValueError("rates_mbps: must increase, without repetition")
        return self


class ProbeSpec(Section):
    """Pings: each device pings the edges (and the cloud) in turn and its cell peers in turn."""

    edge_every_slots: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        2, description="each edge once in so many slots"
    )
    peers_per_slot: Annotated[int, Field(ge=0, le=10_000)] = Field(
        1, description="cell peers pinged per slot"
    )
    ping_bytes: Annotated[int, Field(ge=24, le=1400)] = Field(56, description="ICMP payload, bytes")


class TransferSpec(Section):
    """How a task's bytes travel, and what happens when that fails."""

    attempts: Annotated[int, Field(ge=1, le=10)] = Field(3, description="tries before a task fails")
    stall_timeout_s: Positive = Field(
        60.0, description="a transfer without any progress for so long is broken, s"
    )
    result_bytes: Annotated[int, Field(ge=64, le=65536)] = Field(
        256, description="size of the result message"
    )


class CapacityChange(Section):
    """c_l(t): from ``at_s`` on, the link (both directions, or one) has another rate."""

    at_s: NonNegative = Field(description="scenario time, s")
    link: str = Field(description='"bs1-bs2" (both directions) or "c1d1>bs1" (one direction)')
    rate_mbps: LinkMbps = Field(description="c_l from then on, Mbps")


class LinkFailure(Section):
    """A link that goes down at ``at_s`` for ``down_s`` seconds."""

    at_s: NonNegative = Field(description="scenario time, s")
    link: str = Field(description='"bs1-bs2": a cable, both directions')
    down_s: Positive = Field(description="how long it is down, s")


class CapacityProcess(Section):
    """A seeded random process for c_l(t): rate · U[low, high], redrawn every ``every_s``."""

    link_class: LinkClass
    every_s: Annotated[float, Field(ge=0.1)] = Field(description="time between draws, s")
    factor: tuple[Positive, Positive] = Field((0.5, 1.0), description="U[low, high] · rate_mbps")

    @model_validator(mode="after")
    def _factor_in_order(self) -> CapacityProcess:
        if self.factor[0] > self.factor[1]:
            raise ValueError("factor: low must not exceed high")
        return self


class EventsSpec(Section):
    """What happens to the network while an experiment runs."""

    capacity: tuple[CapacityChange, ...] = Field((), description="changes of c_l at given times")
    capacity_process: tuple[CapacityProcess, ...] = Field(
        (), description="random processes for c_l, one of them for a class of links"
    )
    failures: tuple[LinkFailure, ...] = Field((), description="cables that fail for a while")


class Scenario(Section):
    """One experiment, complete. ``model.scenario.load.load_scenario`` reads it from YAML."""

    name: FileName = Field(description="name of the experiment and of its folder under results/")
    description: str = Field("", description="what it is for, in a sentence or two")
    slots: Annotated[int, Field(ge=1, le=1_000_000)] = Field(300, description="length, slots")
    slot_s: Positive = Field(1.0, description="Δt, s")
    network: NetworkSpec = NetworkSpec()
    workload: WorkloadSpec
    clips: ClipsSpec | None = Field(None, description="ffmpeg: what tasks are about")
    compute: ComputeSpec = ComputeSpec()
    cloud: CloudSpec = CloudSpec()
    decision: DecisionSpec = DecisionSpec()
    probes: ProbeSpec = ProbeSpec()
    transfer: TransferSpec = TransferSpec()
    events: EventsSpec = EventsSpec()

    _files: tuple[str, ...] = PrivateAttr(())

    def __eq__(self, other: object) -> bool:
        """Compare values alone, wherever they were read."""
        return isinstance(other, Scenario) and self.__dict__ == other.__dict__

    @property
    def files(self) -> tuple[str, ...]:
        """Absolute paths of its own file, the one that this extends, and so on; () without any."""
        return self._files

    _notes: tuple[str, ...] = PrivateAttr(())

    @property
    def duration_s(self) -> float:
        """Length of the experiment, s."""
        return self.slots * self.slot_s

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the files that it was read from; a result's ``warnings``."""
        return self._notes

    def with_note(self, text: str) -> Scenario:
        """Return a copy with one more note."""
        copy = self.model_copy()
        copy._notes = (*self._notes, text)
        return copy
