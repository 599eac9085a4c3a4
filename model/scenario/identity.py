"""Whether two scenarios are the same, whichever version of the lab has written them down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.scenario.schema import DECISION_LIMIT_SLOTS

_LATER = {("decision", "limit_slots"): DECISION_LIMIT_SLOTS}
"""Keys that scenarios did not have from the first version on, with their defaults."""


def comparable(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a resolved scenario, without later keys that have their default.

    So a scenario from before a key existed equals the same one of today.
    """
    data = dict(scenario)
    for (section, key), default in _LATER.items():
        if section in data and data[section].get(key, default) == default:
            data[section] = {k: v for k, v in data[section].items() if k != key}
    return data
