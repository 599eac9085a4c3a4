"""What each node is sent at its start, cut out of scenario, trace and network."""

from __future__ import annotations

import math
from pathlib import Path

from emulation.node.transcoding.content import clip_path, digests
from emulation.protocol.briefing import Agent, Briefing, Expected, Overflow, OwnTasks, payload_bytes
from emulation.protocol.link_limits import first_exchanges
from model.addressing import host_ip
from model.aliases import Value
from model.clips import catalogue_of
from model.compute import frequency_trace, worker_count
from model.network import Network, Node
from model.profile import device_profile
from model.random_streams import policy_key, stream
from model.scenario import Scenario
from model.workload import TaskTrace


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
        self._targets = {d.name: network.targets(d.name)[1:] for d in network.devices}
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
            workers=worker_count(scenario, node.kind),
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
        if node.kind != "edge" or self._scenario.cloud.mode != "overflow":
            return None
        cloud, rate = self._network.of_kind("cloud")[0].name, self._scenario.network
        return Overflow(cloud, self._scenario.cloud.overflow_queue_s, rate.overflow_rate_mbps)

    def _agent(self, name: str, policy: str, params: dict[str, Value]) -> Agent:
        scenario, trace, index = self._scenario, self._trace, self._index[name]
        ids = trace.of_device(index)
        return Agent(
            index=index,
            profile=device_profile(scenario, self._network, name),
            policy=policy,
            params=params,
            status=scenario.decision.compute_status == "observed",
            probes=scenario.probes,
            ping_phase=float(stream(self._seed, "probes", name).random()),
            policy_key=policy_key(self._seed, name),
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
