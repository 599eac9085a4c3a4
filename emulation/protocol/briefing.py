"""All that a node is told: its own slice of the scenario, of the trace and of the network.

The orchestrator cuts it out and sends it to that node alone. A device's process has no scenario, no
network, no seed and no task of others, so a policy that walks through every object of its process
finds nothing that its agent may not observe; ``tests/emulation/attacks`` tries.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from emulation.protocol.frames import MAX_TASK_BYTES, MAX_WORK_GHZ_S, Frame
from emulation.protocol.link_limits import GAP_S, LIMIT_S
from model.aliases import Value
from model.compute import FrequencyTrace
from model.observation import DeviceProfile
from model.scenario import DECISION_LIMIT_SLOTS, ClipsSpec, ProbeSpec, TransferSpec


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

    def is_owner(self, frame: Frame) -> bool:
        """Whether a frame is about a task of the device that it names, as far as is known."""
        owners = self.owners
        return owners is None or (frame.task < len(owners) and owners[frame.task] == frame.device)

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


def payload_bytes(data_mb: float, speedup: float) -> int:
    """Real bytes that stand for a task's data."""
    return round(data_mb * 1e6 / speedup)
