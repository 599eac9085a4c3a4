"""Many environments of one scenario, side by side: the simulator's vectorised face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.aliases import FloatArray, Int32Array
from model.clips import catalogue_of
from model.compute import frequency_trace
from model.network import Network
from model.packet_sizes import PING_HEADERS_BYTES, WIRE_OVERHEAD
from model.rates import MBPS_PER_MB_S, transmission_s
from model.scenario import Scenario
from model.scenario.consistency import require_sizes
from model.workload import TaskTrace, generate_trace
from model.worlds import require_simulable
from rl.simulator import announce_compiling, kernel, observe
from rl.simulator import state_arrays as ix
from rl.simulator.layout import Layout
from rl.simulator.limits import require_parts, require_steps
from rl.simulator.state_arrays import Fixed, Moving

PIECE_MB = 0.125
"""Largest part of a task that travels as one, MB on the wire: 0.1 s at 10 Mbps. Unit delays are
within 0.2 % of those of far smaller parts; docs/simulator.md has the figures."""
RETRY_S = 0.2
"""Until a sender notices that a path has failed: TCP's smallest retransmission timeout, s."""


class Batch:
    """E environments of a scenario, one per seed, in step with each other.

    Decisions of a slot are written to ``targets`` and ``rates`` for the tasks ``slot_tasks`` names;
    ``step`` then carries them out at the tasks' births and lets the slot pass.

    Args:
        scenario: the scenario; all seeds share its topology.
        seeds: one per environment.
        piece_mb: largest part of a task that travels as one, MB: accuracy against speed.
        wire_overhead: bytes on the wire per byte of payload.
        closed_form: whether to note E of eqs. (5), (6) and (14) at every decision, too.
        layout: the scenario's layout, if it was made before.

    Raises:
        ScenarioError: if the scenario is larger than the simulator takes, or asks for what it
            lacks.
        ValueError: if ``piece_mb`` or ``wire_overhead`` is not a positive number.

    Attributes:
        targets: int16 (E, N), index of each task's target in its device's ``profile.targets``.
        rates: float64 (E, N), x of each task, Mbps on the wire.
        slot: the slot that comes next; time is ``slot * slot_s``.
    """

    def __init__(
        self,
        scenario: Scenario,
        seeds: Sequence[int],
        *,
        piece_mb: float = PIECE_MB,
        wire_overhead: float = WIRE_OVERHEAD,
        closed_form: bool = False,
        layout: Layout | None = None,
    ):
        self.scenario = scenario
        self.seeds = tuple(seeds)
        if not self.seeds:
            raise ValueError("a batch needs at least one seed")
        require_sizes(scenario)
        announce_compiling()
        self.layout = layout or Layout.of(scenario)
        network = self.layout.network
        require_simulable(scenario, network)
        self.traces = tuple(generate_trace(scenario, seed, network) for seed in self.seeds)
        largest = max(float(t.data_mb.max(initial=0.0)) for t in self.traces)
        require_parts(largest, piece_mb, wire_overhead, max(map(len, self.traces)))
        self.fixed = _fixed(self.layout, self.seeds, piece_mb, wire_overhead)
        self.fixed.constants[ix.WITH_CLOSED_FORM] = closed_form
        self.moving = _moving(self.layout, self.traces)
        # Devices ping every target once before a run begins.
        idle = self.fixed.idle_rtt[0, : self.layout.target_unit.size]
        self.moving.seen[..., ix.IDLE] = idle.reshape(self.layout.target_unit.shape)
        shape = self.moving.task.shape[:2]
        self.targets: NDArray[np.int16] = np.zeros(shape, dtype=np.int16)
        self.rates: FloatArray = np.full(shape, scenario.decision.max_rate_mbps)
        self.slot = 0
        self._send_pings()

    @property
    def network(self) -> Network:
        """The graph."""
        return self.layout.network

    @property
    def now_s(self) -> float:
        """Scenario time, s."""
        return self.slot * self.scenario.slot_s

    def slot_tasks(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(first, end) of the tasks born in the slot that comes next, per environment."""
        end = self.now_s + self.scenario.slot_s
        born = self.moving.task[:, :, ix.BORN]
        last = np.array([np.searchsorted(row, end, side="left") for row in born])
        return self.moving.cursor.copy(), last

    def step(self) -> None:
        """Let a slot pass, with the decisions written to ``targets`` and ``rates``.

        Raises ``ValueError`` if one of them is not legal.
        """
        self.slot += 1
        decisions, done = (self.targets, self.rates), 0
        while done < len(self.seeds):
            done = observe.step_all(
                self.fixed, self.moving, *decisions, self.slot, self.now_s, done
            )
            if done < 0:
                env = -1 - done
                task = self.moving.cursor[env]
                raise self.illegal(env, task, self.targets[env, task], self.rates[env, task])
            if done < len(self.seeds):
                self.grow()

    def advance(self, env: int, time_s: float) -> None:
        """Handle the events of one environment up to a time, s."""
        while not kernel.advance(self.fixed, self.moving, env, time_s):
            self.grow()

    def dispatch(self, env: int, task: int, target: int, rate_mbps: float) -> None:
        """Carry out one decision; events must have been handled up to the task's birth.

        Raises ``ValueError`` if it is not legal, or if another task comes first.
        """
        m = self.moving
        if task != m.cursor[env] or task >= m.task.shape[1]:
            raise ValueError(f"task {task}: the next one to be decided is {m.cursor[env]}")
        if m.heap_size[env] + kernel.MARGIN > m.heap_time.shape[1]:
            self.grow()
        if not kernel.dispatch(self.fixed, self.moving, env, task, target, rate_mbps):
            raise self.illegal(env, task, target, rate_mbps)
        self.moving.cursor[env] = task + 1

    def illegal(self, env: int, task: int, target: int, rate_mbps: float) -> ValueError:
        """Return the error that names the device, the decision and what is allowed."""
        profile = self.layout.profiles[self.moving.task_ref[env, task, ix.DEVICE]]
        if not 0 <= target < len(profile.targets):
            return ValueError(
                f"{profile.name}: target {target} of task {task} does not exist; its targets are "
                f"0 to {len(profile.targets) - 1}"
            )
        return ValueError(
            f"{profile.name}: a rate of {rate_mbps} Mbps for task {task}; it must be above 0 and "
            "finite"
        )

    def end_slot(self) -> None:
        """Close a slot that was run by ``advance`` and ``dispatch`` rather than by ``step``."""
        end = (self.slot + 1) * self.scenario.slot_s
        for env in range(len(self.seeds)):
            self.advance(env, end)
        self.slot += 1
        self._send_pings()

    def delays_s(self, until_s: float) -> FloatArray:
        """E of every task born before ``until_s``, s; pending ones count until then; else NaN.

        Shape (E, N). A task that failed counts like a pending one.
        """
        born, known = self.moving.task[:, :, ix.BORN], self.moving.task[:, :, ix.KNOWN]
        done = known <= until_s
        return np.where(born < until_s, np.where(done, known, until_s) - born, np.nan)

    def unit_delay(self, until_s: float) -> FloatArray:
        """Σ E / Σ o of each environment over the tasks born before ``until_s``, s per MB, (E,).

        NaN where none of them has data.
        """
        delay = self.delays_s(until_s)
        data = np.where(np.isfinite(delay), self.moving.task[:, :, ix.DATA], 0.0)
        total = data.sum(axis=1)
        ratio: FloatArray = np.nansum(delay, axis=1) / np.where(total > 0.0, total, np.nan)
        return ratio

    def _send_pings(self) -> None:
        done = 0
        while done < len(self.seeds):
            done = observe.ping_all(self.fixed, self.moving, self.slot, self.now_s, done)
            if done < len(self.seeds):
                self.grow()

    def grow(self) -> None:
        """Double the heaps."""
        m = self.moving
        grown = {
            name: np.concatenate([array, np.zeros_like(array)], axis=1)
            for name, array in m._asdict().items()
            if name in ("heap_time", "heap_code", "heap_ref", "heap_since")
        }
        self.moving = m._replace(**grown)


def _padded(
    tables: list[list[list[tuple[float, float]]]], what: str, key: str
) -> tuple[FloatArray, FloatArray]:
    """(starts, values) of step functions (E, things, steps), padded with start = inf, value 1."""
    longest = max(len(steps) for env in tables for steps in env)
    require_steps(what, key, len(tables) * len(tables[0]), longest)
    shape = (len(tables), len(tables[0]), longest)
    starts, values = np.full(shape, np.inf), np.ones(shape)
    for e, env in enumerate(tables):
        for k, steps in enumerate(env):
            starts[e, k, : len(steps)] = [s for s, _ in steps]
            values[e, k, : len(steps)] = [v for _, v in steps]
    return starts, values


def _idle_rtt(layout: Layout) -> FloatArray:
    """Round trip of a ping over empty links, (tables, pairs), s: propagation and transmission."""
    size = layout.scenario.probes.ping_bytes + PING_HEADERS_BYTES
    specs = [link.spec for link in layout.network.shaped_links]
    once = np.array(
        [*(s.delay_ms / 1e3 + transmission_s(size, s.rate_mbps) for s in specs if s), 0.0]
    )
    paths = layout.paths
    # Table by table, since links' times take twice the memory of their numbers.
    both = zip(paths.there, paths.back, strict=True)
    return np.stack([once[there].sum(axis=1) + once[back].sum(axis=1) for there, back in both])


def _fixed(layout: Layout, seeds: tuple[int, ...], piece_mb: float, wire_overhead: float) -> Fixed:
    scenario, paths = layout.scenario, layout.paths
    cap_start, cap_mbps = _padded(
        [layout.capacities(seed) for seed in seeds], "changes of a link's capacity", "events"
    )
    traces = [[frequency_trace(scenario, seed, u) for u in layout.network.units] for seed in seeds]
    freq_start, freq = _padded(
        [[list(zip(t.start_s, t.ghz, strict=True)) for t in env] for env in traces],
        "changes of a unit's speed",
        "compute.device.busy_dwell_s",
    )
    constants = np.zeros(ix.CONSTANTS)
    constants[ix.RESULT_MB] = scenario.transfer.result_bytes / 1e6
    constants[ix.RESULT_S_PER_MB] = MBPS_PER_MB_S / scenario.decision.max_rate_mbps
    constants[ix.RETRY_S] = RETRY_S
    overflows = scenario.cloud.mode == "overflow"
    constants[ix.OVERFLOW_S] = scenario.cloud.overflow_queue_s if overflows else np.inf
    constants[ix.OVERFLOW_MB_S] = scenario.network.overflow_rate_mbps / MBPS_PER_MB_S
    constants[ix.PIECE_MB] = piece_mb
    constants[ix.OVERHEAD] = wire_overhead
    constants[ix.GIVE_UP_S] = scenario.transfer.stall_timeout_s * scenario.transfer.attempts
    return Fixed(
        epoch_start=paths.start_s,
        epoch_table=paths.table,
        there=paths.there,
        back=paths.back,
        there_len=paths.there_len,
        back_len=paths.back_len,
        back_fixed=paths.back_fixed_s,
        idle_rtt=_idle_rtt(layout),
        link_delay=layout.delay_s,
        buffer=layout.buffer_mb,
        target_unit=layout.target_unit,
        ping_plan=layout.ping_plan,
        cap_start=cap_start,
        cap=cap_mbps / MBPS_PER_MB_S,
        freq_start=freq_start,
        freq=freq,
        constants=constants,
    )


def _task_arrays(traces: tuple[TaskTrace, ...]) -> tuple[FloatArray, Int32Array]:
    longest = max(1, *(len(t) for t in traces))
    task = np.full((len(traces), longest, ix.TASK_COLUMNS), np.nan)
    task[:, :, ix.BORN] = np.inf
    task[:, :, (ix.WORK, ix.DATA)] = 0.0
    ref = np.full((len(traces), longest, ix.TASK_REF_COLUMNS), -1, dtype=np.int32)
    for e, trace in enumerate(traces):
        task[e, : len(trace), ix.BORN] = trace.born_s
        task[e, : len(trace), ix.WORK] = trace.work_ghz_s
        task[e, : len(trace), ix.DATA] = trace.data_mb
        ref[e, : len(trace), ix.DEVICE] = trace.device
    return task, ref


def _result_mb(scenario: Scenario, traces: tuple[TaskTrace, ...], longest: int) -> FloatArray:
    """What results weigh on the wire beyond a message, MB, (E, N): those of clips."""
    size = np.zeros((len(traces), longest))
    clips = catalogue_of(scenario)
    if clips:
        weights = np.array([c.result_bytes for c in clips]) * WIRE_OVERHEAD / 1e6
        for e, trace in enumerate(traces):
            size[e, : len(trace)] = weights[trace.clip]
    return size


def _moving(layout: Layout, traces: tuple[TaskTrace, ...]) -> Moving:
    envs, devices, targets = len(traces), len(layout.profiles), layout.targets
    links, units = len(layout.network.shaped_links), len(layout.network.units)
    heap = (envs, 2 * devices * targets)
    task, ref = _task_arrays(traces)
    task[:, :, ix.RESULT] = _result_mb(layout.scenario, traces, task.shape[1])
    seen = np.zeros((envs, devices, targets, ix.SEEN_COLUMNS))
    for column in (ix.RTT, ix.DELIVERY, ix.DELIVERY_MB, ix.PROCESSING, ix.PROCESSING_WORK):
        seen[..., column] = np.nan
    for column in (ix.RTT_AT, ix.DELIVERY_AT, ix.PROCESSING_AT):
        seen[..., column] = -np.inf
    seen[..., ix.NEW_RTT_AT] = np.inf
    return Moving(
        link_until=np.zeros((envs, links)),
        link_in=np.zeros((envs, links)),
        link_coming=np.zeros((envs, links)),
        unit_until=np.zeros((envs, units)),
        unit_busy=np.zeros((envs, units)),
        incoming=np.zeros((envs, units)),
        heap_time=np.zeros(heap),
        heap_code=np.zeros(heap, dtype=np.int64),
        heap_ref=np.zeros(heap, dtype=np.int32),
        heap_since=np.zeros(heap),
        heap_size=np.zeros(envs, dtype=np.int64),
        heap_hole=np.zeros(envs, dtype=np.bool_),
        task=task,
        task_ref=ref,
        seen=seen,
        ping_rtt=np.full((envs, devices, targets), np.nan),
        link_wait=np.zeros((envs, links)),
        cursor=np.zeros(envs, dtype=np.int64),
    )
