"""What an agent may observe, and what it may decide: the walls of the partially observable problem.

Nothing in here carries link backlogs V_l, queues Q_u or frequencies F_u of others, capacities or
topology: an agent has its own tasks, its own queue, its own pings, and the delays that its own
tasks met. (The scenario switch ``compute_status: observed`` adds Q_u and F_u of the targets: the
paper's case 1.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from model.aliases import FloatArray

TargetKind = Literal["self", "device", "edge", "cloud"]
TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What a device knows of itself and of its choices, fixed over a run.

    Attributes:
        name: the device's own name.
        targets: names of the units it may choose; the first is the device itself.
        kinds: kind of each target, same order.
        own_edge: index in ``targets`` of the edge server of its own cell.
        prices: R_u of each target.
        rates_mbps: rates x a learner chooses from, Mbps.
        min_rate_mbps, max_rate_mbps: limits of a continuous rate, Mbps.
        alpha, beta: weights of delay (1/s) and fee, eq. (7).
        slot_s: Δt, s.
        max_ghz: its own F_max, GHz.
    """

    name: str
    targets: tuple[str, ...]
    kinds: tuple[TargetKind, ...]
    own_edge: int
    prices: tuple[float, ...]
    rates_mbps: tuple[float, ...]
    min_rate_mbps: float
    max_rate_mbps: float
    alpha: float
    beta: float
    slot_s: float
    max_ghz: float


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task to be placed: s_i in GHz·s and o_i in MB."""

    work_ghz_s: float
    data_mb: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What a device sees when it decides; arrays have shape (targets,), as ``profile.targets``.

    What was never observed is NaN, its age infinite. Times are scenario time, s.

    Attributes:
        time_s: now.
        queue_ghz_s: its own Q, work that waits or is in service on itself, GHz·s.
        ghz: its own F now, GHz.
        inflight_tasks, inflight_work_ghz_s, inflight_data_mb: its own tasks sent to each target
            whose result is not known yet (for itself: waiting or in service); ``data`` counts those
            whose last byte has not arrived.
        rtt_s, rtt_age_s: latest ping to each target, how long ago its reply came (0 for itself).
        idle_rtt_s: smallest round trip ever seen to each target.
        delivery_s, delivery_data_mb: the latest own delivery known to have arrived there: time from
            dispatch to arrival of the last byte, and its size.
        delivery_age_s: how long ago that became known.
        processing_s, processing_work_ghz_s: the latest own task whose result came from there:
            waiting + service there, and its work.
        processing_age_s: how long ago that became known.
        results: number of own results received from each target so far.
        status_queue_ghz_s, status_ghz: Q_u and F_u of the targets where the scenario lets agents
            observe them (``compute_status: observed``), else None.
    """

    time_s: float
    queue_ghz_s: float
    ghz: float
    inflight_tasks: FloatArray
    inflight_work_ghz_s: FloatArray
    inflight_data_mb: FloatArray
    rtt_s: FloatArray
    rtt_age_s: FloatArray
    idle_rtt_s: FloatArray
    delivery_s: FloatArray
    delivery_data_mb: FloatArray
    delivery_age_s: FloatArray
    processing_s: FloatArray
    processing_work_ghz_s: FloatArray
    processing_age_s: FloatArray
    results: FloatArray
    status_queue_ghz_s: FloatArray | None = None
    status_ghz: FloatArray | None = None

    @property
    def network_delay_s(self) -> FloatArray:
        """D_i(t) of eq. (14) for each target: latest round trip minus idle one; 0 if unknown."""
        return np.fmax(self.rtt_s - self.idle_rtt_s, 0.0)  # fmax: NaN counts as 0


@dataclass(frozen=True, slots=True)
class Decision:
    """(w_i, x_i): index of the target in ``profile.targets`` and the rate on the wire, Mbps."""

    target: int
    rate_mbps: float
