"""What the simulator's kernels work on: named arrays, environments first.

Units: s, GHz, GHz·s, MB (10^6 byte), MB/s. E environments, L links, U units, D devices, T targets,
N tasks, P pairs (``rl.simulator.layout.Paths``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.aliases import FloatArray, Int32Array


class Fixed(NamedTuple):
    """What does not change while a batch runs.

    Attributes:
        epoch_start: (epochs,), s; ``epoch_table``: (epochs,), the table of paths that holds then.
        there, back: (tables, P, hops) links; ``there_len``, ``back_len``: (tables, P), -1 = no way.
        back_fixed, idle_rtt: (tables, P), s: propagation home; round trip over empty links.
        link_delay, buffer: (L,), s and MB.
        target_unit: (D, T), -1 where padded.
        ping_plan: (D, 4), which targets a device pings in a slot; see the indices below.
        cap_start, cap: (E, L, steps), s and MB/s; padded with start = inf.
        freq_start, freq: (E, U, steps), s and GHz; padded with start = inf.
        constants: see the indices below.
    """

    epoch_start: FloatArray
    epoch_table: Int32Array
    there: Int32Array
    back: Int32Array
    there_len: Int32Array
    back_len: Int32Array
    back_fixed: FloatArray
    idle_rtt: FloatArray
    link_delay: FloatArray
    buffer: FloatArray
    target_unit: Int32Array
    ping_plan: NDArray[np.int64]
    cap_start: FloatArray
    cap: FloatArray
    freq_start: FloatArray
    freq: FloatArray
    constants: FloatArray


(
    RESULT_MB, RETRY_S, OVERFLOW_S, OVERFLOW_MB_S, PIECE_MB, OVERHEAD, GIVE_UP_S, WITH_CLOSED_FORM,
    RESULT_S_PER_MB,
) = range(9)  # fmt: skip
"""Indices of ``Fixed.constants``."""
CONSTANTS = RESULT_S_PER_MB + 1

PEERS, PEERS_A_SLOT, FAR, FAR_EVERY = range(4)
"""Columns of ``Fixed.ping_plan``: targets 1 … PEERS are devices, PEERS_A_SLOT of which are pinged
in each slot; FAR targets follow, each pinged once in FAR_EVERY slots."""
PING_PLAN_COLUMNS = FAR_EVERY + 1


class Moving(NamedTuple):
    """The state of a batch.

    Attributes:
        link_until: (E, L), when everything that waits on a link has left it, s.
        link_in: (E, L), MB that have entered a link so far.
        link_coming: (E, L), MB of tasks under way that have yet to enter a link.
        unit_until: (E, U), when a unit will have served everything it has, s.
        unit_busy: (E, U), service time given out so far, s.
        incoming: (E, U), work on its way to a unit, GHz·s.
        heap_time, heap_code, heap_ref, heap_since: (E, H) the pending events: when, what, of which
            task or pair, since when; ``heap_size`` (E,) of them.
        heap_hole: (E,), whether the first event is being handled and its place may be taken.
        task: (E, N, columns) floats; ``task_ref``: (E, N, columns) indices.
        seen: (E, D, T, columns), what devices know of their targets.
        ping_rtt: (E, D, T), round trips of the latest slot's pings, NaN where none was sent.
        link_wait: (E, L) scratch.
        cursor: (E,), next task to be born.
    """

    link_until: FloatArray
    link_in: FloatArray
    link_coming: FloatArray
    unit_until: FloatArray
    unit_busy: FloatArray
    incoming: FloatArray
    heap_time: FloatArray
    heap_code: NDArray[np.int64]
    heap_ref: Int32Array
    heap_since: FloatArray
    heap_size: NDArray[np.int64]
    heap_hole: NDArray[np.bool_]
    task: FloatArray
    task_ref: Int32Array
    seen: FloatArray
    ping_rtt: FloatArray
    link_wait: FloatArray
    cursor: NDArray[np.int64]


(
    BORN, WORK, DATA, RATE, DISPATCHED, ARRIVED, START, END, KNOWN, FAILED, CLOSED_FORM,
    PART_MB, PART_S, PARTS_IN, RESULT,
) = range(15)  # fmt: skip
"""Columns of ``Moving.task``: times in s, RATE in Mbps; a part is what travels as one; RESULT is
what a task's result weighs beyond a message, MB on the wire."""
TASK_COLUMNS = RESULT + 1

DEVICE, TARGET, UNIT, PAIR, HOME, LEFT, PARTS, NEXT, ATTEMPTS = range(9)
"""Columns of ``Moving.task_ref``: UNIT is -1 until decided; HOME is the pair of the way back."""
TASK_REF_COLUMNS = ATTEMPTS + 1

(
    COUNT, WAITING_WORK, WAITING_DATA, RTT, RTT_AT, IDLE, NEW_RTT, NEW_RTT_AT,
    DELIVERY, DELIVERY_MB, DELIVERY_AT, PROCESSING, PROCESSING_WORK, PROCESSING_AT, RESULTS,
) = range(15)  # fmt: skip
"""Columns of ``Moving.seen``; *_AT is the time at which it became known."""
SEEN_COLUMNS = RESULTS + 1
