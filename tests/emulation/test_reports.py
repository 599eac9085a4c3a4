"""What of a node's reports is entered, without a network: good ones, impossible ones, ends."""

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
    POLICY_FAULT,
    Baseline,
    Bye,
    Failed,
    Fatal,
    Log,
    Ping,
    Record,
    Replaced,
    Seen,
    Slot,
    Transcoded,
    to_list,
)
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace

SLOTS = 6


class Paper:
    """A writer that keeps all rows."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}

    def append(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.rows.setdefault(table, []).extend(rows)

    def log(self, event: str, **fields: Any) -> None:
        self.rows.setdefault("log", []).append({"event": event, **fields})


class Processes:
    """Notes whose process is ended."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.policies: list[str] = []

    def end_node(self, name: str) -> None:
        self.nodes.append(name)

    def end_policy(self, device: str) -> str | None:
        self.policies.append(device)
        return "was killed by SIGKILL"


class Desk:
    """Reports with everything around them, and what came of them."""

    def __init__(self) -> None:
        scenario = load_scenario("mini", {"slots": SLOTS})
        network = build_network(scenario)
        self.paper, self.processes, self.notes = Paper(), Processes(), list[str]()
        book = TaskBook(generate_trace(scenario, 1, network), network, scenario.duration_s)
        options = RunOptions(scenario)
        recorder = Recorder(options, network, book, self.paper)  # type: ignore[arg-type]
        self.incidents = Incidents(lambda _, __: None, self.notes.append)
        run = Run(SLOTS, "my:Policy")
        self.reports = Reports(run, recorder, Onlooker(), self.incidents, self.processes)

    def send(self, name: str, *records: Record) -> None:
        for record in records:
            self.reports.receive(name, to_list(record))

    def texts(self) -> list[str]:
        return [entry["text"] for entry in self.incidents.entries]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def slot(boundary: int, busy: float | None = 0.5) -> Slot:
    return Slot(boundary, 0.001, 2.0, 9.0, busy)


def test_a_unit_s_slots_are_rows_once_and_go_to_others_once(desk: Desk) -> None:
    desk.send("e1", slot(0, None), slot(1), slot(2))
    assert [r["slot"] for r in desk.paper.rows["units"]] == [0, 1]
    assert desk.reports.units_at(1) == [("e1", 2.0, 9.0, 0.5)]
    assert desk.reports.units_at(1) == []
    assert not desk.reports.refused


@pytest.mark.parametrize("boundaries", [(1, 1), (2, 1), (SLOTS + 1,)])
def test_slots_follow_one_another(desk: Desk, boundaries: tuple[int, ...]) -> None:
    desk.send("e1", *(slot(k) for k in boundaries))
    assert desk.reports.refused["e1"]["records"] == 1
    assert "boundary" in str(desk.reports.refused["e1"]["first"])


def test_slots_that_were_left_out_are_an_incident_of_a_node_that_lived(desk: Desk) -> None:
    desk.send("e1", slot(0, None), slot(3), *(slot(k) for k in range(4, SLOTS + 1)))
    desk.send("c1d1", *(slot(k) for k in range(SLOTS + 1)))
    desk.send("c1d2", slot(0, None))
    desk.reports.lose("c1d2", "was killed by SIGKILL")
    desk.reports.note_what_is_missing(["e1", "c1d1", "c1d2"])
    assert desk.texts() == ["c1d2 was killed by SIGKILL", "e1 has not reported 2 slots"]


def test_who_begins_again_has_left_nothing_out(desk: Desk) -> None:
    desk.send("e1", slot(0, None), slot(1))
    desk.reports.lose("e1", "was killed by SIGKILL")
    desk.reports.begin_again("e1", 4)
    desk.send("e1", *(slot(k) for k in range(4, SLOTS + 1)))
    desk.reports.note_what_is_missing(["e1"])
    assert desk.texts() == ["e1 was killed by SIGKILL"]
    assert not desk.reports.lost


@pytest.mark.parametrize(
    "value", [None, [], ["nonsense"], ["ping"], ["slot", True, 0.0, 0.0, 1.0, 0.5], 7, {"a": 1}]
)
def test_what_is_no_record_is_counted_and_left_out(desk: Desk, value: Any) -> None:
    desk.reports.receive("c1d1", value)
    desk.reports.receive("c1d1", value)
    assert desk.reports.refused["c1d1"]["records"] == 2
    assert not desk.paper.rows
    desk.reports.note_what_is_missing([])
    assert desk.texts()[0].startswith("c1d1: 2 records refused; the first one not a record")


def test_a_task_of_no_trace_and_a_clip_of_no_task_are_refused(desk: Desk) -> None:
    desk.send("e1", Transcoded(10**6, 0, 0.0, 1.0, 0.1, 5, 100, 90, ""))
    desk.send("c1d1", Seen(0, 0.0, 1.0, [0.0]))
    assert desk.reports.refused["e1"]["records"] == desk.reports.refused["c1d1"]["records"] == 1


def test_pings_and_idle_paths_are_entered(desk: Desk) -> None:
    desk.send("c1d1", Baseline({"e1": 0.002}, ["c1d2"]), Ping("e1", 0.5, 0.01))
    assert desk.reports.baseline == {"c1d1": ["c1d2"]}
    assert [p["target"] for p in desk.paper.rows["probes"]] == ["e1"]


def test_a_node_that_fails_before_the_start_ends_the_run(desk: Desk) -> None:
    desk.send("c1d1", Fatal("no such file", user=True))
    assert str(desk.reports.fatal) == "c1d1: no such file"
    assert desk.processes.nodes == []


def test_a_node_that_fails_later_ends_alone_and_once(desk: Desk) -> None:
    desk.reports.started = True
    desk.send("c1d1", Fatal("KeyError: 7", user=False), Fatal("again", user=False))
    assert desk.reports.fatal is None
    assert desk.reports.lost == {"c1d1": "KeyError: 7"}
    assert desk.texts() == ["c1d1 KeyError: 7"]
    assert set(desk.processes.nodes) == {"c1d1"}


def test_an_illegal_decision_ends_the_run_with_the_first_reason(desk: Desk) -> None:
    desk.reports.started = True
    task = 0
    desk.send("c1d1", Failed(task, 0.1, "transfer: no route"))
    assert desk.reports.fatal is None
    other = Desk()
    other.send("c1d1", Failed(task, 0.1, f"{POLICY_FAULT}target 99 is not one of 0 … 2"))
    other.send("c1d2", Failed(1, 0.2, f"{POLICY_FAULT}later"))
    assert str(other.reports.fatal) == "policy my:Policy on c1d1: target 99 is not one of 0 … 2"


def test_a_policy_that_was_replaced_is_an_incident_with_how_it_ended(desk: Desk) -> None:
    desk.send("c1d1", Replaced(1.0, "its process has ended"))
    assert desk.processes.policies == ["c1d1"]
    assert desk.texts() == [
        "c1d1's policy decides no more: its process has ended (was killed by SIGKILL)"
    ]


def test_farewells_and_lines_of_the_log_are_kept(desk: Desk) -> None:
    desk.send("e1", Log("warning", 0.5, "odd\x1b[31m"), Bye({"served": 3}))
    assert desk.reports.farewells == {"e1": {"served": 3}}
    (line,) = (r for r in desk.paper.rows["log"] if r["event"] == "node")
    assert "\x1b" not in line["text"]
