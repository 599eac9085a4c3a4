"""Scenario files: a mistake takes lines, what is accepted can be built and simulated."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from model.compute import frequency_trace
from model.errors import ScenarioError
from model.events import timeline
from model.network import build_network
from model.scenario import Scenario
from model.scenario.load import load_scenario, parse_overrides
from model.shipped_scenarios import SCENARIO_FOLDER
from model.workload import generate_trace
from tests.fuzz.bounds import bounded, require_told, tries
from tests.fuzz.damage import ODD_NUMBERS, damaged_bytes, damaged_data, places

MINI = (SCENARIO_FOLDER / "mini.yaml").read_bytes()
WHOLE: dict[str, Any] = load_scenario("case3-drift").model_dump(mode="json")
FEW_TASKS = 20_000


def read(path: Path) -> Scenario | None:
    """The scenario of a file, or None where it has been refused as it should be."""
    try:
        with bounded():
            return load_scenario(path)
    except ScenarioError as error:
        require_told(error)
        return None


def use(scenario: Scenario) -> None:
    """Everything that is drawn from a scenario before a run."""
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario
    network = build_network(scenario)
    timeline(scenario, network, 1)
    for unit in network.units[:5]:
        assert np.isfinite(frequency_trace(scenario, 1, unit).max_ghz)
    load = scenario.workload
    epochs = len(network.devices) * scenario.duration_s / sum(load.epoch_gap_s)
    if epochs * load.tasks_per_epoch < FEW_TASKS:
        trace = generate_trace(scenario, 1, network)
        assert np.isfinite(trace.work_ghz_s).all()
        assert np.isfinite(trace.data_mb).all()


@tries(400)
@given(damaged_bytes(MINI) | st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(data)
    scenario = read(path)
    event(f"accepted: {scenario is not None}")
    if scenario is not None:
        use(scenario)


@tries(400)
@given(damaged_data(WHOLE))
def test_odd_values_in_valid_files(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=False))
    scenario = read(path)
    event(f"accepted: {scenario is not None}")
    if scenario is not None:
        use(scenario)


KEYS = st.sampled_from([".".join(map(str, p)) for p in places(WHOLE)]) | st.text(max_size=20)


@tries(300)
@given(st.lists(st.tuples(KEYS, st.text(max_size=10)) | st.tuples(KEYS, ODD_NUMBERS), max_size=3))
def test_overrides(pairs: list[tuple[str, Any]]) -> None:
    try:
        with bounded():
            scenario = load_scenario("case3-drift", parse_overrides(f"{k}={v}" for k, v in pairs))
    except ScenarioError as error:
        require_told(error)
    else:
        use(scenario)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{k}: 1\n" for k in range(19_000)),
        "[" * 200_000,
        "{a: " * 50_000,
        "? " * 100_000,
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "a: &a [x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 8)}]\n" for b, c in pairwise("abcdefghi")),
        f"a: &a {'x' * 100_000}\nb: [{'*a,' * 15_000}]\n",
        "extends: /" + "a" * 5_000,
        'extends: "/a\\0.yaml"',
        "extends: /proc/self/mem.yaml/../../../dev/zero",
        'description: "\\ud800"',
        "a: " + "1" * 250_000,
        "a: !!python/object/apply:os.system [true]\n",
        "a: !!binary aaaa\n",
    ],
    ids=lambda text: text[:20],
)
def test_hostile_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    assert read(path) is None


@pytest.mark.parametrize("item", ["a=" + chr(0xDCFF), chr(0xDCFF) + "=1", "name=" + chr(0xDCFF)])
def test_overrides_that_are_no_text(item: str) -> None:
    with pytest.raises(ScenarioError):
        load_scenario("mini", parse_overrides([item]))


def test_a_position_of_thousands_of_digits() -> None:
    with pytest.raises(ScenarioError, match="must be a position"):
        load_scenario("mini", {"network.clusters." + "1" * 5_000: "x"})
