"""All that a node is told: its own slice of the scenario, of the trace and of the network.

The orchestrator cuts it out and sends it to that node alone. A device's process has no scenario, no
network, no seed and no task of others, so a policy that walks through every object of its process
finds nothing that its agent may not observe; ``tests/emulation/attacks`` tries.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emulation.node.transcoding.content import clip_path, digests
from emulation.protocol.frames import MAX_TASK_BYTES, MAX_WORK_GHZ_S
from emulation.protocol.link_limits import GAP_S, LIMIT_S, first_exchanges
from model.addressing import host_ip
from model.clips import catalogue_of
from model.compute import FrequencyTrace, frequency_trace
from model.network import Network, Node
from model.observation import DeviceProfile
from model.profile import device_profile
from model.random_streams import stream
from model.scenario import DECISION_LIMIT_SLOTS, ClipsSpec, ProbeSpec, Scenario, TransferSpec
from model.workload import TaskTrace

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class OwnTasks:
    """The tasks of one device in order of birth: ids, births in s, s_i, GHz·s, o_i, MB, clips."""

    ids: tuple[int, ...]
    born_s: tuple[float, ...]
    work_ghz_s: tuple[float, ...]
    data_mb: tuple[float, ...]
    clip: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Agent:
    """What only a device has.

    Attributes:
        index: its position among the devices, its name on the wire.
        profile: what its policy is told.
        policy, params: see ``rl.policies.create``.
        status: whether the scenario lets it observe its targets' queues.
        probes: when it pings whom.
        ping_phase: when in a slot its pings begin, 0 … 1.
        policy_key: of the policy's random stream. The seed itself would tell everybody's tasks.
        tasks: its own.
        content: folder of the clips that its tasks are about; '' where they are about none.
        decision_limit_slots: how long a task waits for a user's policy, in slots.
        first_gap_s, first_limit_s: of its first exchanges, see ``emulation.protocol.link_limits``;
            real s.
    """

    index: int
    profile: DeviceProfile
    policy: str
    params: dict[str, Value]
    status: bool
    probes: ProbeSpec
    ping_phase: float
    policy_key: tuple[int, ...]
    tasks: OwnTasks
    content: str = ""
    first_gap_s: float = GAP_S
    first_limit_s: float = LIMIT_S
    decision_limit_slots: float = DECISION_LIMIT_SLOTS


@dataclass(frozen=True, slots=True)
class Expected:
    """What units that run nothing of a user's know of every task, in order of their numbers.

    Attributes:
        born_s, work_ghz_s: births in s and s_i in GHz·s.
        payload_bytes: real bytes that are sent.
        clip: which clip of the catalogue it is about; -1: about none.
    """

    born_s: tuple[float, ...]
    work_ghz_s: tuple[float, ...]
    payload_bytes: tuple[int, ...]
    clip: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Overflow:
    """Where an edge passes tasks on to while Q/F exceeds ``queue_s``, and how fast."""

    cloud: str
    queue_s: float
    rate_mbps: float


@dataclass(frozen=True, slots=True)
class Briefing:
    """Everything a node knows when it begins.

    Attributes:
        name: the unit's name.
        speedup: k; real time = scenario time / k, a real byte stands for k.
        slot_s, slots: Δt in s, and how many there are.
        address: its own.
        targets: name → address of the units that it may send tasks to.
        senders: address → index of the device there; None: an edge, which passes on tasks of all.
        owners: task → index of its device; for edges and the cloud, which run nothing of a user's.
        frequency: F_u(t) of its own.
        transfer: how tasks travel.
        stepped: whether somebody outside waits for the end of each slot, and decides for devices.
        clips: what there is to transcode, where work is that; ``workers``: how many at a time;
            ``result_rate_mbps``: how fast results go back; ``clip_sha256``: of each clip's bytes.
        most_work_ghz_s, most_payload_bytes: what no task of the scenario exceeds; for units
            that are not told of the others' tasks.
        expected: what each task is; for edges and the cloud, like ``owners``.
        overflow, agent: what only some edges, and only devices, have.
    """

    name: str
    speedup: float
    slot_s: float
    slots: int
    address: str
    targets: dict[str, str]
    senders: dict[str, int | None]
    owners: tuple[int, ...] | None
    frequency: FrequencyTrace
    transfer: TransferSpec
    stepped: bool = False
    clips: ClipsSpec | None = None
    workers: int = 1
    result_rate_mbps: float | None = None
    clip_sha256: tuple[str, ...] = ()
    most_work_ghz_s: float = MAX_WORK_GHZ_S
    most_payload_bytes: int = MAX_TASK_BYTES
    expected: Expected | None = None
    overflow: Overflow | None = None
    agent: Agent | None = None

    def to_json(self) -> dict[str, Any]:
        """For ``from_json``."""
        value = asdict(self)
        value["transfer"] = self.transfer.model_dump(mode="json")
        if self.clips is not None:
            value["clips"] = self.clips.model_dump(mode="json")
        if self.agent is not None:
            value["agent"]["probes"] = self.agent.probes.model_dump(mode="json")
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Briefing:
        """What ``to_json`` made. Raises ``KeyError``, ``TypeError`` or ``ValueError`` if not."""
        overflow, agent, clips = value["overflow"], value["agent"], value["clips"]
        expected = value["expected"]
        return cls(
            **{
                **value,
                "owners": None if value["owners"] is None else tuple(value["owners"]),
                "clip_sha256": tuple(value["clip_sha256"]),
                "frequency": FrequencyTrace(**_with_tuples(value["frequency"])),
                "transfer": TransferSpec.model_validate(value["transfer"]),
                "clips": None if clips is None else ClipsSpec.model_validate(clips),
                "expected": None if expected is None else Expected(**_with_tuples(expected)),
                "overflow": None if overflow is None else Overflow(**overflow),
                "agent": None if agent is None else _agent(agent),
            }
        )


def _with_tuples(value: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}


def _agent(value: dict[str, Any]) -> Agent:
    return Agent(
        **{
            **value,
            "profile": DeviceProfile(**_with_tuples(value["profile"])),
            "probes": ProbeSpec.model_validate(value["probes"]),
            "policy_key": tuple(value["policy_key"]),
            "tasks": OwnTasks(**_with_tuples(value["tasks"])),
        }
    )


def generator(key: tuple[int, ...]) -> np.random.Generator:
    """The random stream with that key, as ``model.random_streams.stream`` begins it."""
    # Seeded by the key too, for whoever spawns further streams from it.
    bits = np.random.Philox(np.random.SeedSequence(list(key)))
    state: Any = bits.state
    state["state"]["key"] = np.array(key, dtype=np.uint64)
    bits.state = state
    return np.random.Generator(bits)


def payload_bytes(data_mb: float, speedup: float) -> int:
    """Real bytes that stand for a task's data."""
    return round(data_mb * 1e6 / speedup)


def _most_of(scenario: Scenario, speedup: float, sizes: tuple[int, ...]) -> tuple[float, int]:
    """What no task exceeds, by the scenario alone, so that it tells nothing of any task.

    Work and data are Poisson: 12 standard deviations and 30 more happen once in 10^20 tasks.
    """
    if scenario.clips is not None:
        clips = catalogue_of(scenario)
        return max(c.work_ghz_s for c in clips), max((*sizes, max(c.data_bytes for c in clips)))
    spec = scenario.workload
    work, data_mb = (m + 12 * math.sqrt(m) + 30 for m in (spec.work_ghz_s, spec.data_mb))
    return work, payload_bytes(data_mb, speedup)


class Briefer:
    """Cuts a run into what each of its nodes is told."""

    def __init__(
        self,
        scenario: Scenario,
        network: Network,
        trace: TaskTrace,
        seed: int,
        speedup: float,
        *,
        content: str = "",
    ):
        self._scenario, self._network, self._trace = scenario, network, trace
        self._seed, self._speedup, self._content = seed, speedup, content
        self._addresses = {n.name: host_ip(network, n) for n in network.units}
        self._index = {n.name: k for k, n in enumerate(network.devices)}
        to_cloud = scenario.cloud.mode == "target"
        self._targets = {
            d.name: network.targets(d.name, cloud=to_cloud)[1:] for d in network.devices
        }
        self._owners = tuple(int(k) for k in trace.device)
        self._first = first_exchanges(scenario, network, speedup)
        self._payload_bytes = self._sizes()
        self._expected = Expected(
            tuple(trace.born_s.tolist()), tuple(trace.work_ghz_s.tolist()), self._payload_bytes,
            tuple(trace.clip.tolist()),
        )  # fmt: skip
        self._sha256 = digests(content, len(catalogue_of(scenario))) if content else ()
        self._most = _most_of(scenario, speedup, self._payload_bytes)

    def brief(
        self, name: str, policy: str, params: dict[str, Value], *, stepped: bool = False
    ) -> Briefing:
        """What a node is told; policy and parameters are for devices."""
        scenario, node = self._scenario, self._network.nodes[name]
        overflow = self._overflow(node)
        is_device = node.kind == "device"
        targets = self._targets[name] if is_device else (overflow.cloud,) if overflow else ()
        return Briefing(
            name=name,
            speedup=self._speedup,
            slot_s=scenario.slot_s,
            slots=scenario.slots,
            address=self._addresses[name],
            targets={t: self._addresses[t] for t in targets},
            senders=self._senders(node),
            owners=None if is_device else self._owners,
            frequency=frequency_trace(scenario, self._seed, node),
            transfer=scenario.transfer,
            stepped=stepped,
            clips=scenario.clips,
            workers=getattr(scenario.compute.workers, node.kind, 1),
            result_rate_mbps=None if scenario.clips is None else scenario.decision.max_rate_mbps,
            clip_sha256=self._sha256,
            most_work_ghz_s=self._most[0],
            most_payload_bytes=self._most[1],
            expected=None if is_device else self._expected,
            overflow=overflow,
            agent=self._agent(name, policy, params) if is_device else None,
        )

    def _sizes(self) -> tuple[int, ...]:
        """Real bytes of each task: those of its clip, or as many as the speed-up leaves."""
        trace = self._trace
        if not self._content:
            return tuple(payload_bytes(float(v), self._speedup) for v in trace.data_mb)
        folder = Path(self._content)
        sizes = {int(k): clip_path(folder, int(k)).stat().st_size for k in set(trace.clip.tolist())}
        return tuple(sizes[int(k)] for k in trace.clip)

    def _senders(self, node: Node) -> dict[str, int | None]:
        senders: dict[str, int | None] = {
            self._addresses[d]: self._index[d]
            for d, targets in self._targets.items()
            if node.name in targets
        }
        if node.kind == "cloud" and self._scenario.cloud.mode == "overflow":
            senders |= {self._addresses[e.name]: None for e in self._network.of_kind("edge")}
        return senders

    def _overflow(self, node: Node) -> Overflow | None:
        """Tasks that are passed on travel as fast as the edge's link to the cloud allows."""
        if node.kind != "edge" or self._scenario.cloud.mode != "overflow":
            return None
        spec = self._scenario.network
        cloud = self._network.of_kind("cloud")[0].name
        rate = min(spec.access.rate_mbps, spec.backbone.rate_mbps)
        return Overflow(cloud, self._scenario.cloud.overflow_queue_s, rate)

    def _agent(self, name: str, policy: str, params: dict[str, Value]) -> Agent:
        scenario, trace, index = self._scenario, self._trace, self._index[name]
        ids = trace.of_device(index)
        state: Any = stream(self._seed, "policy", name).bit_generator.state
        return Agent(
            index=index,
            profile=device_profile(scenario, self._network, name),
            policy=policy,
            params=params,
            status=scenario.decision.compute_status == "observed",
            probes=scenario.probes,
            ping_phase=float(stream(self._seed, "probes", name).random()),
            policy_key=tuple(int(k) for k in state["state"]["key"]),
            tasks=OwnTasks(
                tuple(int(k) for k in ids),
                tuple(float(v) for v in trace.born_s[ids]),
                tuple(float(v) for v in trace.work_ghz_s[ids]),
                tuple(float(v) for v in trace.data_mb[ids]),
                tuple(int(k) for k in trace.clip[ids]),
            ),
            content=self._content,
            first_gap_s=self._first.gap_s,
            first_limit_s=self._first.limit_s,
            decision_limit_slots=scenario.decision.limit_slots,
        )
