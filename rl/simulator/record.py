"""Writes down a run of the simulator in the result format of ``records.schema``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.link_row import simulated_columns
from records import schema
from records.stages import NO_PATH, stage
from rl.simulator import observe
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch


class Recorder:
    """Collects rows of the first environment of a batch, slot by slot."""

    def __init__(self, batch: Batch):
        self._batch = batch
        self._links: list[dict[str, Any]] = []
        self._units: list[dict[str, Any]] = []
        self._probes: list[dict[str, Any]] = []
        links, units = batch.network.shaped_links, batch.network.units
        self._link_names = [k.name for k in links]
        self._link_classes = [k.link_class for k in links]
        self._unit_names = [u.name for u in units]
        self._unit_kinds = [u.kind for u in units]
        self._before = np.zeros((len(links), 2))
        self._busy_before = np.zeros(len(units))

    def pings(self) -> None:
        """The pings that were sent at the start of the slot that comes next."""
        rtt, profiles = self._batch.moving.ping_rtt[0], self._batch.layout.profiles
        device, target = np.nonzero(self._batch.layout.pinged(self._batch.slot))
        self._probes.append(
            {
                "time_s": np.full(len(device), self._batch.now_s),
                "device": [profiles[d].name for d in device],
                "target": [profiles[d].targets[t] for d, t in zip(device, target, strict=True)],
                "rtt_s": rtt[device, target],
            }
        )

    def slot(self, slot: int) -> None:
        """Links and units at the end of a slot."""
        batch, m = self._batch, self._batch.moving
        now, slot_s = batch.now_s, batch.scenario.slot_s
        links, units = np.empty((len(self._link_names), 2)), np.empty((len(self._unit_names), 2))
        observe.state(batch.fixed, m, 0, now, links, units)
        self._links.append(self._link_columns(slot, now, links))
        # What was given out beyond this moment lies ahead of it without a gap.
        busy = m.unit_busy[0] - np.maximum(m.unit_until[0] - now, 0.0)
        count = len(units)
        self._units.append(
            {
                "slot": np.full(count, slot, dtype=np.int32),
                "time_s": np.full(count, now),
                "unit": self._unit_names,
                "kind": self._unit_kinds,
                "queue_ghz_s": units[:, 0],
                "ghz": units[:, 1],
                "load_s": units[:, 0] / units[:, 1],
                "busy_share": np.clip((busy - self._busy_before) / slot_s, 0.0, 1.0),
            }
        )
        self._busy_before = busy

    def _link_columns(self, slot: int, now: float, links: NDArray[np.float64]) -> dict[str, Any]:
        batch, count = self._batch, len(links)
        waiting, rate = links[:, 0], links[:, 1]
        measured = np.minimum(waiting, batch.fixed.buffer)
        entered = batch.moving.link_in[0].copy()
        # Continuity: what came in and does not wait has been sent.
        sent = np.maximum(entered - self._before[:, 0] - (waiting - self._before[:, 1]), 0.0)
        self._before = np.stack([entered, waiting], axis=1)
        return {
            "slot": np.full(count, slot, dtype=np.int32),
            "time_s": np.full(count, now),
            "link": self._link_names,
            "link_class": self._link_classes,
            **simulated_columns(measured, waiting, sent, rate, batch.scenario.slot_s),
        }

    def tables(self, accounting: str) -> dict[str, pa.Table]:
        """All tables by name."""
        return {
            "tasks": self._tasks(accounting),
            "slots": self._slots(),
            "links": _table(self._links, schema.LINKS),
            "units": _table(self._units, schema.UNITS),
            "probes": _table(self._probes, schema.PROBES),
        }

    def _slots(self) -> pa.Table:
        """Counts of tasks; what concerns a real machine's timing stays null."""
        batch = self._batch
        task = batch.moving.task[0]
        ends = (np.arange(batch.slot) + 1) * batch.scenario.slot_s
        failed = task[:, ix.FAILED]
        known = np.where(np.isnan(failed), task[:, ix.KNOWN], np.nan)

        def until(times: NDArray[np.float64]) -> NDArray[np.int64]:
            return np.searchsorted(np.sort(times[np.isfinite(times)]), ends, side="right")

        nothing = [None] * batch.slot
        columns = {
            "slot": np.arange(batch.slot, dtype=np.int32),
            "time_s": ends - batch.scenario.slot_s,
            "lateness_s": nothing,
            "late_process": nothing,
            "idle_cpu_share": nothing,
            "born": until(task[:, ix.BORN]),
            "done": until(known),
            "failed": until(failed),
        }
        return _table([columns], schema.SLOTS)

    def _tasks(self, accounting: str) -> pa.Table:
        batch = self._batch
        count = len(batch.traces[0])
        task, ref = batch.moving.task[0, :count].copy(), batch.moving.task_ref[0, :count]
        if accounting == "paper":
            task[:, ix.KNOWN] = task[:, ix.BORN] + task[:, ix.CLOSED_FORM]
        task[:, ix.ARRIVED : ix.FAILED][task[:, ix.ARRIVED : ix.FAILED] > batch.now_s] = np.nan
        failed = task[:, ix.FAILED] <= batch.now_s
        done = np.isfinite(task[:, ix.KNOWN]) & ~failed
        decided = ref[:, ix.UNIT] >= 0
        profiles = [batch.layout.profiles[d] for d in ref[:, ix.DEVICE]]
        targets = [
            p.targets[t] if ok else None
            for p, t, ok in zip(profiles, ref[:, ix.TARGET], decided, strict=True)
        ]
        kinds = [
            p.kinds[t] if ok else None
            for p, t, ok in zip(profiles, ref[:, ix.TARGET], decided, strict=True)
        ]
        columns = {
            "task": np.arange(count),
            "device": [p.name for p in profiles],
            "born_s": task[:, ix.BORN],
            "work_ghz_s": task[:, ix.WORK],
            "data_mb": task[:, ix.DATA],
            "target": targets,
            "target_kind": kinds,
            "rate_mbps": task[:, ix.RATE],
            "dispatched_s": task[:, ix.DISPATCHED],
            "arrived_s": task[:, ix.ARRIVED],
            "service_start_s": task[:, ix.START],
            "service_end_s": task[:, ix.END],
            "known_s": task[:, ix.KNOWN],
            "attempts": np.maximum(ref[:, ix.ATTEMPTS], 0),
            "outcome": np.where(failed, "failed", np.where(done, "done", "unfinished")),
            "reason": _reasons(task, failed, done),
        }
        return _table([columns], schema.TASKS)


def _reasons(
    task: NDArray[np.float64], failed: NDArray[np.bool_], done: NDArray[np.bool_]
) -> list[str | None]:
    """Why a task failed, or where an unfinished one stood."""
    reasons: list[str | None] = []
    for row, has_failed, is_done in zip(task, failed, done, strict=True):
        if is_done:
            reasons.append(None)
        elif has_failed:
            reasons.append(NO_PATH)
        else:
            reasons.append(stage(row[ix.DISPATCHED], row[ix.ARRIVED], row[ix.END]))
    return reasons


def _table(parts: list[dict[str, Any]], form: pa.Schema) -> pa.Table:
    """Rows of several parts in the columns of a schema; NaN becomes null."""
    arrays = []
    for field in form:
        chunks = [pa.array(part[field.name], type=field.type, from_pandas=True) for part in parts]
        arrays.append(pa.chunked_array(chunks, type=field.type))
    return pa.Table.from_arrays(arrays, schema=form).combine_chunks()
