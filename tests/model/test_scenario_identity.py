"""Scenarios that an earlier version wrote down are those of today."""

from __future__ import annotations

import json
from pathlib import Path

from model.scenario import Scenario
from model.scenario.identity import comparable
from model.scenario.load import load_scenario

EARLIER = json.loads(Path(__file__).with_name("case3_of_earlier.json").read_text(encoding="utf-8"))


def test_a_key_that_came_later_makes_no_other_scenario() -> None:
    """A new key of the schema that is not known to ``identity`` fails here."""
    now = load_scenario("case3").model_dump(mode="json")
    assert comparable(json.loads(json.dumps(now))) == comparable(EARLIER) == EARLIER


def test_an_earlier_scenario_is_read_with_todays_defaults() -> None:
    assert Scenario.model_validate(EARLIER) == load_scenario("case3")


def test_another_value_is_another_scenario() -> None:
    for key, value in (("decision.limit_slots", 0.2), ("decision.alpha", 0.5), ("slots", 20)):
        other = load_scenario("case3", {key: value}).model_dump(mode="json")
        assert comparable(other) != EARLIER
