"""What is written of slots that were late, and of links at which nobody looked."""

from __future__ import annotations

from typing import Any

import pytest

from emulation.options import RunOptions
from emulation.orchestrator.recorder import Recorder
from emulation.orchestrator.task_table import TaskBook
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace


class Paper:
    """A writer that keeps all rows."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}

    def append(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.rows.setdefault(table, []).extend(rows)


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def recorder(paper: Paper) -> Recorder:
    scenario = load_scenario("mini", {"slots": 6})
    network = build_network(scenario)
    book = TaskBook(generate_trace(scenario, 1, network), network, scenario.duration_s)
    return Recorder(RunOptions(scenario), network, book, paper)  # type: ignore[arg-type]


def test_who_is_late_by_slots_is_told_of_in_the_next_one(recorder: Recorder, paper: Paper) -> None:
    recorder.late(0, "e1", 0.001)
    for slot in range(3):
        recorder.end_of_slot(slot, 0.0)
    recorder.late(1, "c1d1", 1.9)  # it comes two slots after its time
    recorder.end_of_slot(3, 0.0)
    told = [(r["late_process"], r["lateness_s"]) for r in paper.rows["slots"]]
    assert told == [("e1", 0.001), ("", 0.0), ("", 0.0), ("c1d1", 1.9)]


def test_slots_in_which_nobody_looked_have_rows_without_values(
    recorder: Recorder, paper: Paper
) -> None:
    links = list(recorder.rates)

    def look(slot: int, sent: int) -> None:
        recorder.links(slot, [(k, 10, sent, 0, True) for k in links], [0] * len(links))

    look(0, 1000)
    recorder.count_links_anew()  # another controller, that first looked when slot 2 ended
    look(3, 400)
    for slot in range(6):
        recorder.end_of_slot(slot, 0.0)
    recorder.finish()
    rows = [r for r in paper.rows["links"] if r["link"] == links[0]]
    assert [r["slot"] for r in rows] == list(range(6))
    assert [r.get("sent_bytes") for r in rows] == [1000, None, None, 400, None, None]
    assert recorder.unmeasured_slots == [1, 2, 4, 5]
