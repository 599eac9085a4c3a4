"""The JSON schema of scenario files, with which editors complete keys and mark mistakes."""

from __future__ import annotations

import json
from typing import Any

from model.scenario import Scenario

_LIST_ITEMS = {"BaseStationSpec", "ClusterSpec", "CapacityChange", "CapacityProcess", "LinkFailure"}
"""Entries of lists, which replace as a whole: what they require must stand in the file."""


def scenario_schema() -> dict[str, Any]:
    """The schema of a scenario *file*: as ``Scenario``, but what is missing may be inherited."""
    schema = Scenario.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "crowd-edge-lab scenario"
    schema["description"] = "One experiment; what is left out is inherited or has its default."
    schema["properties"] = {
        "extends": {
            "type": "string",
            "description": "name or relative path of the scenario that this one changes",
        },
        **schema["properties"],
    }
    schema.pop("required", None)
    for name, section in schema["$defs"].items():
        if name not in _LIST_ITEMS:
            section.pop("required", None)
    return schema


def schema_text() -> str:
    """The schema as it stands in ``scenarios/schema.json``."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"
