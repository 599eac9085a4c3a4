"""Turns what processes report into the rows of a result folder, as the run goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulation.host.idle_cpu import CpuWatch
from emulation.options import RunOptions
from emulation.orchestrator.event_log import EventLog
from emulation.orchestrator.task_table import TaskBook
from emulation.orchestrator.terminal_view import Status
from emulation.orchestrator.usage import Usage
from emulation.protocol.messages import Transcoded
from model.clips import catalogue_of
from model.controller_messages import LinkSample, PortSample, QueueSample
from model.link_row import LinkCounters
from model.network import Network
from model.profile import target_kind
from records.writer import ResultWriter


@dataclass(slots=True)
class _SlotWatch:
    """The worst lateness reported for a slot, real s."""

    lateness_s: float = 0.0
    process: str = ""


class Recorder:
    """Bookkeeping of one run.

    Real quantities come in; scenario quantities (× speed-up) are written.
    """

    def __init__(self, options: RunOptions, network: Network, book: TaskBook, writer: ResultWriter):
        self.book, self._writer = book, writer
        self._scenario, self._speedup = options.scenario, options.speedup
        self._units = {n.name: n for n in network.units}
        self._classes = {k.name: k.link_class for k in network.shaped_links}
        self.rates = {k.name: k.spec.rate_mbps for k in network.shaped_links if k.spec is not None}
        self._devices = [n.name for n in network.devices]
        self._clips = catalogue_of(options.scenario)
        self._usages: dict[str, Usage] = {}
        self._counters = LinkCounters(options.scenario.slot_s, options.speedup)
        self._links_from = self._slots_ended = 0
        self._slots: dict[int, _SlotWatch] = {}
        self._cpu = CpuWatch()
        self._event_log = EventLog()
        self.ran_s = 0.0
        self.clocks: dict[str, float] = {}
        self.unmeasured_slots: list[int] = []
        self.link_load_s: dict[str, float] = {}
        self.unit_load_s: dict[str, float] = {}

    def log(self, event: str, fields: Mapping[str, Any]) -> None:
        """A line of the run's log."""
        self._writer.log(event, **{k: v for k, v in fields.items() if k != "event"})

    def time_of_slot(self, slot: int) -> float:
        """Scenario time at which a slot ends, s."""
        return (slot + 1) * self._scenario.slot_s

    def late(self, slot: int, process: str, lateness_s: float) -> None:
        """A process began the work of a slot's end so late, real s.

        Who was so late that the slot's row is written already is told of in the next one.
        """
        watch = self._slots.setdefault(max(slot, self._slots_ended), _SlotWatch())
        if lateness_s >= watch.lateness_s:
            watch.lateness_s, watch.process = lateness_s, process

    def unit(self, slot: int, name: str, queue_ghz_s: float, ghz: float, busy_share: float) -> None:
        """State of a unit at the end of a slot."""
        load = queue_ghz_s / ghz
        self.unit_load_s[name] = load
        self._writer.append(
            "units",
            [
                {
                    "slot": slot,
                    "time_s": self.time_of_slot(slot),
                    "unit": name,
                    "kind": self._units[name].kind,
                    "queue_ghz_s": queue_ghz_s,
                    "ghz": ghz,
                    "load_s": load,
                    "busy_share": busy_share,
                }
            ],
        )

    def resources(self, slot: int, usages: Mapping[str, Usage]) -> None:
        """What each node has used so far, at the end of a slot; what it used in it is written."""
        rows = [
            {
                "slot": slot,
                "time_s": self.time_of_slot(slot),
                "node": name,
                "kind": self._units[name].kind,
                "cpu_s": now.cpu_s - before.cpu_s,
                "memory_mb": now.memory_mb,
                "received_bytes": float(now.received_bytes - before.received_bytes),
                "sent_bytes": float(now.sent_bytes - before.sent_bytes),
            }
            for name, now in usages.items()
            if (before := self._usages.get(name)) is not None
        ]
        self._usages |= usages
        self._writer.append("resources", rows)

    def transcoded(self, unit: str, done: Transcoded) -> None:
        """A unit has transcoded a clip, or has failed to."""
        clip, owner = self._clips[done.clip], int(self.book.trace.device[done.task])
        here = target_kind(self._units[unit], self._devices[owner])
        row = {
            "task": done.task,
            "unit": unit,
            "target_kind": here,
            "clip": done.clip,
            "source": clip.source,
            "result": clip.result,
            "duration_s": clip.duration_s,
            "start_s": done.start_s,
            "end_s": done.end_s,
            "cpu_s": done.cpu_s,
            "frames": done.frames,
            "data_bytes": float(done.data_bytes),
            "result_bytes": float(done.result_bytes),
            "error": done.error or None,
        }
        self._writer.append("transcodes", [row])

    def ping(self, device: str, target: str, time_s: float, rtt_s: float | None) -> None:
        """A ping and its round trip (None: no reply), scenario time."""
        row = {"time_s": time_s, "device": device, "target": target, "rtt_s": rtt_s}
        self._writer.append("probes", [row])

    def links(self, slot: int, samples: list[LinkSample], virtual: list[int]) -> None:
        """State of all links at the end of a slot, real bytes.

        ``samples``: (link, backlog, bytes sent since the start, packets dropped since the start,
        up); ``virtual``: V_l of eq. (2), same order. Slots left out have rows that say so.
        """
        self._unmeasured(slot)
        self._links_from = slot + 1
        rows = [self._link_row(slot, sample, v) for sample, v in zip(samples, virtual, strict=True)]
        self._writer.append("links", rows)

    def count_links_anew(self) -> None:
        """The totals of bytes and drops that come next begin at 0 again."""
        self._counters.restart()

    def _unmeasured(self, until: int) -> None:
        """Write rows without a measurement for slots without a look at the links."""
        slots = range(self._links_from, until)
        rows = [
            {**self._link_key(slot, name), "rate_mbps": self.rates[name]}
            for slot in slots
            for name in self._classes
        ]
        if rows:
            self._writer.append("links", rows)
            self.unmeasured_slots += slots

    def _link_row(self, slot: int, sample: LinkSample, virtual: float) -> dict[str, Any]:
        name = sample[0]
        row = self._counters.row(sample, virtual, self.rates[name])
        self.link_load_s[name] = row.load_s
        return {**self._link_key(slot, name), **row._asdict()}

    def _link_key(self, slot: int, name: str) -> dict[str, Any]:
        return {
            "slot": slot,
            "time_s": self.time_of_slot(slot),
            "link": name,
            "link_class": self._classes[name],
        }

    def queues(self, time_s: float, samples: list[QueueSample]) -> None:
        """A look at the queues within a slot: (link, backlog, total sent), real bytes."""
        rows = [
            {
                "time_s": time_s,
                "link": name,
                "backlog_bytes": backlog * self._speedup,
                "total_sent_bytes": sent * self._speedup,
            }
            for name, backlog, sent in samples
        ]
        self._writer.append("queues", rows)

    def capacity(self, time_s: float, link: str, rate_mbps: float) -> None:
        """A directed link has had another capacity since a scenario time."""
        self.rates[link] = rate_mbps
        self._event_log.capacity(time_s, link, rate_mbps)
        self._writer.append("events", [{"time_s": time_s, "link": link, "rate_mbps": rate_mbps}])

    def cable(self, time_s: float, links: list[str], *, up: bool) -> None:
        """Both links of a cable failed or came back at a scenario time."""
        self._event_log.cable(time_s, links, up=up)
        rows = [{"time_s": time_s, "link": link, "up": up} for link in links]
        self._writer.append("events", rows)

    def ports(self, slot: int, switch: str, samples: list[PortSample]) -> None:
        """OpenFlow counters of ports: (neighbour, rx, tx bytes, rx, tx packets, …), real."""
        rows = [
            {
                "slot": slot,
                "switch": switch,
                "neighbour": neighbour,
                "rx_bytes": rx_bytes * self._speedup,
                "tx_bytes": tx_bytes * self._speedup,
                "rx_packets": rx_packets,
                "tx_packets": tx_packets,
            }
            for neighbour, rx_bytes, tx_bytes, rx_packets, tx_packets, *_ in samples
        ]
        self._writer.append("ports", rows)

    def end_of_slot(self, slot: int, left_real_s: float) -> Status:
        """Write what the slot has completed, and tell how things stand."""
        self._slots_ended = slot + 1
        now = self.time_of_slot(slot)
        counts = self.book.counts(now)
        watch = self._slots.pop(slot, _SlotWatch())
        idle = self._cpu.idle_share()
        row = {
            "slot": slot,
            "time_s": now,
            "lateness_s": watch.lateness_s,
            "late_process": watch.process,
            "idle_cpu_share": idle,
            "born": counts.born,
            "done": counts.done,
            "failed": counts.failed,
        }
        self._writer.append("slots", [row])
        self._writer.append("tasks", self.book.take_final())
        return Status(
            slot=slot + 1,
            slots=self._scenario.slots,
            left_real_s=left_real_s,
            counts=counts,
            unit_delay_s_per_mb=self.book.unit_delay(now),
            idle_cpu_share=idle,
            lateness_s=watch.lateness_s,
            link_load_s=dict(self.link_load_s),
            unit_load_s=dict(self.unit_load_s),
            sent=dict(self.book.sent),
            events=self._event_log.latest(),
        )

    def finish(self) -> None:
        """Write the tasks that were not final when the run ended, and what is missing."""
        self._unmeasured(self._slots_ended)
        self._writer.append("tasks", self.book.take_rest())
