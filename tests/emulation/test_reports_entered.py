"""What a good report leaves in the records, and reports at the edge of what is possible."""

from __future__ import annotations

from typing import Any

import pytest

from emulation.options import RunOptions
from emulation.orchestrator.external_steps import Onlooker
from emulation.orchestrator.incidents import Incidents
from emulation.orchestrator.recorder import Recorder
from emulation.orchestrator.reports import Reports, Run
from emulation.orchestrator.task_table import TaskBook
from emulation.protocol.messages import (
    Baseline,
    Born,
    Dispatched,
    Fatal,
    Ready,
    Record,
    Seen,
    Slot,
    TaskRecord,
    Transcoded,
    to_list,
)
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace
from tests.emulation.test_reports import Paper, Processes

SLOTS = 6


class Watcher(Onlooker):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.records: list[TaskRecord] = []
        self.units: list[tuple[Any, ...]] = []
        self.views: list[tuple[str, Seen]] = []

    def heard(self, record: TaskRecord) -> None:
        self.records.append(record)

    def unit(self, *of: Any) -> None:
        self.units.append(of)

    def seen(self, name: str, view: Seen) -> None:
        self.views.append((name, view))


class Desk:
    """Reports of a scenario, with all that they are entered into."""

    def __init__(self, name: str = "mini") -> None:
        scenario = load_scenario(name, {"slots": SLOTS} if name == "mini" else {})
        network = build_network(scenario)
        self.paper, self.processes, self.watcher = Paper(), Processes(), Watcher()
        self.trace = generate_trace(scenario, 1, network)
        self.devices = [d.name for d in network.devices]
        book = TaskBook(self.trace, network, scenario.duration_s)
        self.recorder = Recorder(RunOptions(scenario), network, book, self.paper)  # type: ignore[arg-type]
        self.incidents = Incidents(lambda _, __: None, lambda _: None)
        run = Run(scenario.slots, "my:Policy")
        self.reports = Reports(run, self.recorder, self.watcher, self.incidents, self.processes)

    def send(self, name: str, *records: Record) -> None:
        for record in records:
            self.reports.receive(name, to_list(record))

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.paper.rows.get(table, [])


def slot(boundary: int, late_s: float = 0.001) -> Slot:
    return Slot(boundary, late_s, 2.0, 9.0, None if boundary == 0 else 0.5)


def transcoded(task: int, clip: int) -> Transcoded:
    return Transcoded(task, clip, 1.0, 2.0, 0.9, 60, 188, 188, "")


def test_transcodings_of_any_clip_are_entered() -> None:
    desk = Desk("livecast")
    clips = desk.trace.clip.tolist()
    tasks = [0, len(clips) - 1, clips.index(0)]
    desk.send("e1", *(transcoded(task, clips[task]) for task in tasks))
    assert not desk.reports.refused
    entered = [(row["task"], row["clip"], row["unit"]) for row in desk.rows("transcodes")]
    assert entered == [(task, clips[task], "e1") for task in tasks]


def test_transcodings_of_another_clip_or_of_no_task_are_refused() -> None:
    desk = Desk("livecast")
    clips = desk.trace.clip.tolist()
    wrong = [(0, clips[0] + 1), (len(clips), 0), (-1, clips[-1])]
    desk.send("e1", *(transcoded(task, clip) for task, clip in wrong))
    assert desk.reports.refused["e1"]["records"] == len(wrong)
    without = Desk()
    without.send("e1", transcoded(0, -1))
    assert without.reports.refused["e1"]["records"] == 1
    assert not desk.rows("transcodes") + without.rows("transcodes")


def test_lateness_belongs_to_the_slot_that_has_ended() -> None:
    desk = Desk()
    desk.send("e1", slot(0, 0.02), slot(1, 0.01), slot(2, 0.03))
    desk.send("c1d1", slot(0, 0.0), slot(1, 0.0), slot(2, 0.05), slot(3, 0.0))
    for number in range(3):
        desk.recorder.end_of_slot(number, 0.0)
    found = [(r["lateness_s"], r["late_process"]) for r in desk.rows("slots")]
    assert found == [(0.02, "e1"), (0.05, "c1d1"), (0.0, "c1d1")]


def test_tasks_reach_the_table_and_the_onlooker() -> None:
    desk = Desk()
    device = desk.devices[desk.trace.device[0]]
    at_s = float(desk.trace.born_s[0])
    records = Born(0, "e1", 5.0, at_s), Dispatched(0, 1, at_s + 0.25)
    desk.send(device, *records)
    assert desk.watcher.records == list(records)
    desk.recorder.finish()
    (row,) = (r for r in desk.rows("tasks") if r["task"] == 0)
    assert (row["target"], row["rate_mbps"], row["dispatched_s"]) == ("e1", 5.0, at_s + 0.25)


def test_views_and_units_reach_the_onlooker() -> None:
    desk = Desk()
    desk.send("c1d1", Seen(0, 0.0, 1.0, [0.0]), slot(0), slot(1))
    assert desk.watcher.views == [("c1d1", Seen(0, 0.0, 1.0, [0.0]))]
    assert desk.watcher.units == [("c1d1", 0, 2.0, 9.0), ("c1d1", 1, 2.0, 9.0)]


def test_round_trips_on_idle_paths_and_starts_are_lines_of_the_log() -> None:
    desk = Desk()
    desk.send("c1d1", Baseline({"e1": 0.002}, []), Ready(42, "greedy"))
    assert desk.rows("log") == [
        {"event": "baseline", "node": "c1d1", "idle_rtt_s": {"e1": 0.002}},
        {"event": "node ready", "node": "c1d1", "pid": 42, "policy": "greedy"},
    ]


@pytest.mark.parametrize(
    ("reported", "missing"), [((), SLOTS), ((0,), SLOTS), ((0, 1), SLOTS - 1), ((0, 1, 4), 4)]
)
def test_slots_that_a_node_has_not_reported_are_counted(
    reported: tuple[int, ...], missing: int
) -> None:
    desk = Desk()
    desk.send("e1", *(slot(k) for k in reported))
    desk.reports.note_what_is_missing(["e1"])
    texts = [entry["text"] for entry in desk.incidents.entries]
    assert texts == [f"e1 has not reported {missing} slots"]


def test_a_lost_node_whose_slots_are_missing_is_one_incident() -> None:
    desk = Desk()
    desk.reports.started = True
    desk.send("e1", slot(0), Fatal("KeyError: 7", user=False))
    desk.reports.note_what_is_missing(["e1"])
    assert [entry["text"] for entry in desk.incidents.entries] == ["e1 KeyError: 7"]
    assert desk.processes.nodes == ["e1"]
