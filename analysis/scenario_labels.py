"""Names of the scenarios of many results: two that differ in a value do not share a name."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from model.scenario.identity import comparable
from model.scenario.load import load_scenario
from model.shipped_scenarios import scenario_names

_CLUSTERS = "network.clusters."
_IS_SIZE = re.compile(r"network\.clusters\.\d+\.devices")


def scenario_text(scenario: Mapping[str, Any]) -> str:
    """Every value of a scenario of which results are put together; not its length."""
    kept = {k: v for k, v in comparable(scenario).items() if k not in ("description", "slots")}
    return json.dumps(kept, sort_keys=True)


def _shipped(name: str) -> str:
    """The text of a scenario that comes with the lab, '' for another name."""
    if name not in scenario_names():
        return ""
    return scenario_text(load_scenario(name).model_dump(mode="json"))


def scenario_labels(scenarios: Iterable[str]) -> dict[str, str]:
    """Scenario text → name, with the values that differ from the shipped one of that name.

    For names that the lab does not ship, from the commonest one.
    """
    counts = Counter(scenarios)
    by_name: dict[str, list[str]] = {}
    for text, _ in counts.most_common():
        by_name.setdefault(json.loads(text)["name"], []).append(text)
    labels = {}
    for name, texts in by_name.items():
        usual = _flat(json.loads(_shipped(name) or texts[0]))
        for text in texts:
            flat = _flat(json.loads(text))
            other = [f"{k}={v}" for k, v in flat.items() if usual.get(k) != v]
            other += [f"no {k}" for k in usual if k not in flat]
            if any(_CLUSTERS in word for word in other):
                sizes = sorted({str(v) for k, v in flat.items() if _IS_SIZE.fullmatch(k)})
                other = [word for word in other if _CLUSTERS not in word]
                other.insert(0, f"clusters of {', '.join(sizes)}")
            more = f" and {len(other) - 3} more" if len(other) > 3 else ""
            labels[text] = f"{name} ({', '.join(other[:3])}{more})" if other else name
    return labels


def _flat(value: Any, above: str = "") -> dict[str, Any]:
    """``{"network.e2e.rate_mbps": 30, …}``."""
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {above: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{above}.{key}" if above else str(key))
    return found
