"""Watching a whole run: what counts as growth, and a real run that is watched."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from cli.chaos import chaos
from experiments.chaos.soak import Footprint, Look, growth


def looks(memory_mb: list[float], descriptors: list[int]) -> list[Look]:
    return [
        Look(60.0 * k, {"controller": Footprint(m, d), "e1": Footprint(20.0, 9)})
        for k, (m, d) in enumerate(zip(memory_mb, descriptors, strict=True))
    ]


def test_what_grows_only_at_first_is_flat() -> None:
    assert growth(looks([30.0, 50.0, *[60.0] * 10], [12, 14, *[15] * 10])) == []


def test_a_leak_is_told() -> None:
    memory = [100.0 + 2.0 * k for k in range(12)]
    assert growth(looks(memory, [12] * 12)) == ["controller: memory from 108.0 to 120.0 MB"]
    assert growth(looks([100.0] * 12, [12 + k // 3 for k in range(12)])) == [
        "controller: descriptors from 13 to at least 15"
    ]
    # What is open while there is much to do is no leak as long as it is closed again.
    assert growth(looks([100.0] * 12, [12, 12, 12, 12, 14, 13, 13, 12, 12, 12, 16, 19])) == []
    # The least of a few looks at what goes up and down is a little more or less each time.
    assert growth(looks([100.0] * 12, [12, 14, 13, 12, 15, 14, 13, 12, 15, 13, 15, 16])) == []


def test_a_little_is_not_told_and_few_looks_tell_nothing() -> None:
    assert growth(looks([100.0 + 0.3 * k for k in range(12)], [12] * 12)) == []
    assert growth(looks([100.0 * k for k in range(7)], list(range(7)))) == []


def test_a_run_is_watched_in_parts() -> None:
    assert looks([1.0], [2])[0].total == Footprint(21.0, 11)


@pytest.mark.ovs
def test_a_real_run_is_watched() -> None:
    done = CliRunner().invoke(chaos, ["--soak", "mini", "--slots", "10"], standalone_mode=False)
    assert re.search(r"^\d+ s: \d+\.\d MB, \d+ descriptors; orchestrator", done.output, re.M)
    assert "\ngrown: " in done.output  # what is open depends on the moment in so short a run
    assert "result: " in done.output


def test_slots_are_for_a_soak() -> None:
    done = CliRunner().invoke(chaos, ["--slots", "10"], standalone_mode=False)
    assert "--slots is for --soak" in str(done.exception)
