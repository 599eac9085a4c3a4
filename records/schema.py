"""The result format, version 1: what a run writes and the only thing that analysis knows.

A result folder is ``<out>/<scenario>/<policy>/seed<k>/<UTC time>-<run id>/`` with
``manifest.json``, the tables below as Parquet, ``pcap/`` where captures were asked for,
``log.jsonl`` and ``README.txt``. All times are scenario time in s, all bytes scenario bytes (at
speed-up k a real byte stands for k), so results of both worlds and of all speed-ups compare
directly.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

OUTCOMES = ("done", "failed", "unfinished")
TASK_TIMES = (
    "born_s", "dispatched_s", "arrived_s", "service_start_s", "service_end_s", "known_s",
)  # fmt: skip
"""Columns of ``tasks`` in the order in which their events follow one another."""

TASKS = pa.schema(
    [
        ("task", pa.int64()),
        ("device", pa.string()),
        ("born_s", pa.float64()),
        ("work_ghz_s", pa.float64()),
        ("data_mb", pa.float64()),
        ("target", pa.string()),  # null: never decided
        ("target_kind", pa.string()),  # self | device | edge | cloud
        ("rate_mbps", pa.float64()),  # x, chosen, on the wire
        ("dispatched_s", pa.float64()),  # first byte handed to the network (self: born)
        ("arrived_s", pa.float64()),  # last byte at the unit
        ("service_start_s", pa.float64()),
        ("service_end_s", pa.float64()),
        ("known_s", pa.float64()),  # result known at the device
        ("attempts", pa.int32()),
        ("outcome", pa.string()),  # done | failed | unfinished
        ("reason", pa.string()),  # failed: why; unfinished: where it stood
    ]
)

LINKS = pa.schema(
    [
        ("slot", pa.int32()),
        ("time_s", pa.float64()),  # when it was sampled
        ("link", pa.string()),  # "c2d3>bs1"
        ("link_class", pa.string()),  # e2e | access | e2d | backbone
        ("rate_mbps", pa.float64()),  # c_l(t)
        # Null from here on: nobody looked in this slot (the controller was being started again).
        ("backlog_bytes", pa.float64()),  # V_l measured: bytes waiting in the leaf queue
        ("virtual_backlog_bytes", pa.float64()),  # V_l of eq. (2), from offered and served bytes
        ("sent_bytes", pa.float64()),  # in this slot
        ("drops", pa.int64()),  # packets dropped in this slot
        ("load_s", pa.float64()),  # V_l / c_l
        ("utilisation", pa.float64()),  # sent / (c_l Δt)
        ("up", pa.bool_()),
    ]
)

UNITS = pa.schema(
    [
        ("slot", pa.int32()),
        ("time_s", pa.float64()),
        ("unit", pa.string()),
        ("kind", pa.string()),  # device | edge | cloud
        ("queue_ghz_s", pa.float64()),  # Q_u
        ("ghz", pa.float64()),  # F_u
        ("load_s", pa.float64()),  # Q_u / F_u
        ("busy_share", pa.float64()),  # share of the slot spent serving
    ]
)

PROBES = pa.schema(
    [
        ("time_s", pa.float64()),  # when the ping was sent
        ("device", pa.string()),
        ("target", pa.string()),
        ("rtt_s", pa.float64()),  # null: no reply
    ]
)

QUEUES = pa.schema(
    [
        ("time_s", pa.float64()),  # of a look within a slot, several a slot
        ("link", pa.string()),  # only links on which something waits, or did a look before
        ("backlog_bytes", pa.float64()),
        ("total_sent_bytes", pa.float64()),  # since the network was built
    ]
)

PORTS = pa.schema(
    [
        ("slot", pa.int32()),
        ("switch", pa.string()),
        ("neighbour", pa.string()),  # OpenFlow counters of the port towards it, totals
        ("rx_bytes", pa.float64()),
        ("tx_bytes", pa.float64()),
        ("rx_packets", pa.int64()),
        ("tx_packets", pa.int64()),
    ]
)

EVENTS = pa.schema(
    [
        ("time_s", pa.float64()),  # when the network had taken the change
        ("link", pa.string()),
        ("rate_mbps", pa.float64()),  # c_l from then on (null: its cable failed or came back)
        ("up", pa.bool_()),  # false: failed, true: came back (null: its capacity changed)
    ]
)

RESOURCES = pa.schema(
    [
        ("slot", pa.int32()),
        ("time_s", pa.float64()),  # the end of the slot
        ("node", pa.string()),
        ("kind", pa.string()),  # device | edge
        ("cpu_s", pa.float64()),  # CPU time in this slot, of its processes and FFmpeg's
        ("memory_mb", pa.float64()),  # now; shared pages in equal parts (PSS)
        ("received_bytes", pa.float64()),  # by its interface in this slot, frames
        ("sent_bytes", pa.float64()),
    ]
)

TRANSCODES = pa.schema(
    [
        ("task", pa.int64()),
        ("unit", pa.string()),  # where
        ("target_kind", pa.string()),  # of the unit, seen from the task: self | device | edge
        ("clip", pa.int32()),
        ("source", pa.string()),  # representation it had
        ("result", pa.string()),  # representation it got
        ("duration_s", pa.float64()),  # length of the clip
        ("start_s", pa.float64()),  # handed to a worker
        ("end_s", pa.float64()),
        ("cpu_s", pa.float64()),  # FFmpeg's own
        ("frames", pa.int32()),  # counted in the result
        ("data_bytes", pa.float64()),
        ("result_bytes", pa.float64()),
        ("error", pa.string()),  # null: the result was checked and is as it should be
    ]
)

SLOTS = pa.schema(
    [
        ("slot", pa.int32()),
        ("time_s", pa.float64()),
        ("lateness_s", pa.float64()),  # worst lateness of any process at this slot's start, real s
        ("late_process", pa.string()),  # whose it was
        ("idle_cpu_share", pa.float64()),  # of all cores, over this slot
        ("born", pa.int64()),  # cumulative counts of tasks
        ("done", pa.int64()),
        ("failed", pa.int64()),
    ]
)

TABLES: dict[str, pa.Schema] = {
    "tasks": TASKS,
    "links": LINKS,
    "units": UNITS,
    "probes": PROBES,
    "slots": SLOTS,
    "queues": QUEUES,
    "ports": PORTS,
    "events": EVENTS,
    "resources": RESOURCES,
    "transcodes": TRANSCODES,
}

KEYS = frozenset(
    {"task", "device", "target", "slot", "link", "link_class", "unit", "kind", "switch",
     "neighbour"}
)  # fmt: skip
"""Columns that say what a row is about, and so are full. Measured ones may lack values."""

KEYS_LACKING = {("tasks", "target")}
"""But for these: a task that nobody has decided has no target."""
