"""The live view fits the terminal, cuts no number, and uses the room it has."""

from __future__ import annotations

import io
import re

import pytest

from emulation.orchestrator import terminal_view
from emulation.orchestrator.event_log import EventLog
from emulation.orchestrator.task_table import Counts, TaskBook
from emulation.orchestrator.terminal_view import History, Status, TerminalView
from emulation.protocol.messages import Born
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace
from records.console import Screen

SIZES = [(80, 24), (200, 50), (120, 30), (60, 20), (40, 20)]
NETWORK = build_network(load_scenario("case3"))
EVENTS = tuple(f"{k}.0 s: bs1-bs2 is down" for k in range(12))


def status(events: tuple[str, ...] = EVENTS) -> Status:
    """A moment of a large run with large numbers."""
    return Status(
        slot=123456,
        slots=1000000,
        left_real_s=876543.0,
        counts=Counts(987654, 876543, 54321),
        unit_delay_s_per_mb=12345.67,
        idle_cpu_share=0.07,
        lateness_s=12.345,
        link_load_s={k.name: 1000.0 + n for n, k in enumerate(NETWORK.shaped_links)},
        unit_load_s={u.name: 2000.0 + n for n, u in enumerate(NETWORK.units)},
        sent={"self": 500000, "device": 12345, "edge": 300000, "cloud": 0},
        events=events,
    )


def drawn(width: int, height: int, moment: Status, title: str = "livecast-mini with m2ppo") -> str:
    """What a terminal of a size shows, after the moment has come thrice."""
    screen = Screen(width=width)
    screen.height = height
    screen.file = io.StringIO()
    view = TerminalView(title, screen)
    for _ in range(3):
        view.show(moment)
    screen.file = io.StringIO()
    screen.print(view.draw(moment))
    return screen.file.getvalue()


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    "title", ["mini with local", "a-scenario-of-a-long-name with my:Policy" * 2]
)
def test_it_fits_and_cuts_no_number(width: int, height: int, title: str) -> None:
    text = drawn(width, height, status(), title)
    lines = text.splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    assert "…" not in text
    numbers = (
        "123456/1000000", "876543 s left", "born 987654", "done 876543", "failed 54321",
        "in flight 56790", "12345.67 s/MB", "idle 7%", "12345 ms", "500000 (62%)",
    )  # fmt: skip
    flowing = " ".join(text.split())
    assert [number for number in numbers if number not in flowing] == []
    loads = re.findall(r"\b\d+\.\d+\b", "\n".join(lines))
    assert {"1101.00", "2047.00"} <= set(loads)


def test_a_large_terminal_shows_more() -> None:
    small, large = drawn(80, 24, status()), drawn(200, 50, status())
    links = r"^(?:bs|c|e)\w*>\w+ "
    low, high = (len(re.findall(links, text, re.MULTILINE)) for text in (small, large))
    assert low >= 10
    assert high >= 30
    assert large.count("is down") == 8
    assert small.count("is down") == 2
    assert "▇" in large or "█" in large
    assert "▁" not in small


def test_a_quiet_run_has_no_empty_parts() -> None:
    moment = Status(1, 30, 29.0, Counts(0, 0, 0), float("nan"), 1.0, 0.0)
    text = drawn(80, 24, moment)
    assert "unit delay –" in text
    assert "events" not in text
    assert "none decided yet" in text


def test_sparklines_are_logarithmic_and_bounded() -> None:
    history = History()
    for load in (0.0, float("nan"), 0.001, 0.1, 1.0, 10.0, 1e6, float("inf")):
        history.add({"a": load})
    line = history.spark("a", 10)
    assert line[:2] == "  "
    assert line[2:5] == "▁▁▁"
    assert list(line[4:]) == sorted(line[4:])
    assert line.endswith("███")
    for _ in range(500):
        history.add({"a": 0.0})
    assert history.spark("a", 300).strip() == "▁" * 200


def test_a_terminal_without_unicode_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_view, "takes_unicode", lambda: False)
    history = History()
    history.add({"a": 10.0})
    assert history.spark("a", 1) == "#"


def test_many_capacities_at_a_time_are_one_line() -> None:
    log = EventLog()
    log.capacity(1.0, "c1d1>bs1", 2.5)
    assert log.latest() == ("1.0 s: c1d1>bs1 has 2.5 Mbps",)
    for k in range(40):
        log.capacity(5.0, f"c1d{k}>bs1", 1.0)
    log.cable(5.0, ["bs2>bs1", "bs1>bs2"], up=False)
    assert log.latest()[1:] == ("5.0 s: bs1-bs2 is down", "5.0 s: 40 links have other capacities")
    for _ in range(100):
        log.cable(6.0, ["bs2>bs1"], up=True)
    assert len(log.latest()) == 20


def test_a_task_counts_where_it_was_sent_first() -> None:
    scenario = load_scenario("mini")
    network = build_network(scenario)
    book = TaskBook(generate_trace(scenario, 1, network), network, scenario.duration_s)
    own = network.devices[int(book.trace.device[0])].name
    book.receive(Born(0, own, 1.0, 0.0))
    book.receive(Born(0, "e1", 1.0, 0.0))
    book.receive(Born(1, "e1", 1.0, 0.0))
    assert book.sent == {"self": 1, "device": 0, "edge": 1, "cloud": 0}


def test_short_slots_are_not_all_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    view = TerminalView("mini", Screen(width=80))
    drawn_slots: list[int] = []

    def draw(moment: Status) -> str:
        drawn_slots.append(moment.slot)
        return ""

    monkeypatch.setattr(view, "draw", draw)
    for slot in range(1, 101):
        view.show(Status(slot, 100, 0.0, Counts(0, 0, 0), 1.0, 1.0, 0.0, {"a>b": 1.0 * slot}))
    assert drawn_slots[0] == 1
    assert drawn_slots[-1] == 100
    assert len(drawn_slots) < 20
    assert len(view._links.spark("a>b", 200).strip()) == 100
