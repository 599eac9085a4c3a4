"""Scenario files: which of them is blamed, and what a shorter run leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.scenario.load import load_scenario
from tests.model.complaining import Writer, complaint


def test_a_files_name_is_blamed_on_that_file(write: Writer) -> None:
    path = write("extends: mini\nslots: 5\n", "My Study (final).yaml")
    assert complaint(path) == (
        "My Study (final).yaml: name: the file's name, 'My Study (final)', cannot name a scenario "
        "(at most 41 lower-case letters, digits, '-' and '_'); add a line 'name: my-study-final'"
    )
    assert load_scenario(path, {"name": "mine"}).name == "mine"
    write("extends: My Study (final).yaml\n", "b.yaml")
    assert load_scenario(write("extends: b.yaml\n", "c.yaml")).slots == 5
    assert "add a line 'name: case1-mine'" in complaint(write("extends: case1\n", "Case1.yaml"))
    assert "add a line 'name: my-scenario'" in complaint(write("extends: case1\n", "Ü.yaml"))


@pytest.mark.parametrize(
    ("base", "text", "words"),
    [
        ("case2", "slots: 1000000\nprobes: {peers_per_slot: 1}\n",
         "top.yaml:2: slots: with workload: about"),
        ("case3-drift", "slots: 900000\nworkload: {epoch_gap_s: [5000, 5000]}\n",
         "top.yaml:2: slots: with events.capacity_process.0.every_s: more than"),
        ("livecast", "compute: {core_ghz: 0.01}\n",
         "top.yaml:2: compute.core_ghz: with compute.workers.device: "),
    ],
)  # fmt: skip
def test_the_file_that_makes_the_whole_wrong_is_blamed(
    write: Writer, base: str, text: str, words: str
) -> None:
    write(f"extends: {base}\n", "middle (old).yaml")
    lines = complaint(write(f"extends: middle (old).yaml\n{text}", "top.yaml")).splitlines()
    assert any(line.startswith(words) for line in lines), lines


def test_what_is_no_scenario_file_is_named_for_what_it_is(write: Writer, tmp_path: Path) -> None:
    write("# Read me\n\nThis: is: no scenario\n", "README.md")
    for spelt in ("README.md", "./README.md", tmp_path / "README.md"):
        message = complaint(spelt)
        assert message.startswith("README.md:3: not YAML: ")
        assert "a scenario is a YAML file" in message
    write("Just a sentence.\n", "notes")
    assert "a scenario is a YAML file" in complaint("notes")
    folder = tmp_path / "studies.yaml"
    folder.mkdir()
    (folder / "one.yaml").write_text("extends: mini\n")
    assert complaint(folder).endswith(
        "studies.yaml: is a folder, not a YAML file; in it are one.yaml"
    )
    assert complaint("./").startswith("./: is a folder")


LATE = """\
extends: case1
slots: 100
events:
  failures:
    - {at_s: 70, link: bs1-bs2, down_s: 5}
    - {at_s: 10, link: bs1-bs2, down_s: 5}
  capacity:
    - {at_s: 60, link: bs1-bs2, rate_mbps: 5}
    - {at_s: 59, link: bs1-bs2, rate_mbps: 6}
"""


def test_a_shorter_run_leaves_later_events_out_and_says_so(
    write: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(LATE, "eventful-a.yaml")
    found = load_scenario(path, {"slots": 60})
    assert [e.at_s for e in found.events.failures] == [10]
    assert [e.at_s for e in found.events.capacity] == [59]
    note = "eventful-a: 2 events from 60 s on left out: the run ends at 60 s"
    assert found.notes == (note,)
    load_scenario(path, {"slots": "60"})
    assert caplog.messages == [f"note: {note}"]  # said once
    assert load_scenario(path).notes == ()
    assert len(load_scenario(path, {"slot_s": 0.5}).events.failures) == 1


def test_a_file_may_be_shorter_than_what_it_extends(write: Writer) -> None:
    write(LATE, "eventful-b.yaml")
    top = write("extends: eventful-b.yaml\nslots: 65\n", "short-b.yaml")
    found = load_scenario(top)
    assert (len(found.events.failures), len(found.events.capacity)) == (1, 2)
    assert found.model_copy().notes == found.notes != ()


def test_an_event_after_the_end_of_the_same_file_is_a_mistake(write: Writer) -> None:
    path = write(LATE.replace("slots: 100", "slots: 65"))
    assert complaint(path).startswith("mine.yaml:5: events.failures.0.at_s: 70 s is not before")
    mistaken = write(LATE.replace("bs1-bs2, rate_mbps: 6", "bs1-bs7, rate_mbps: 6"))
    assert complaint(mistaken, {"slots": 60}).startswith("mine.yaml:9: events.capacity.1.link: ")
    overrides: dict[str, object] = {"slots": 60, "events.failures.1.at_s": 80}
    assert complaint(write(LATE), overrides).startswith("--set events.failures.1.at_s: 80 s is")
