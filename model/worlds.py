"""Which of a scenario's keys a world lacks.

A key means the same in the emulation and in the simulator, or the simulator refuses every value of
it but the default. ``tests/rl/test_scenario_keys.py`` holds each key of the schema against this.
"""

from __future__ import annotations

from collections.abc import Iterator

from model.errors import ScenarioError
from model.network import Network, build_network
from model.scenario import DECISION_LIMIT_SLOTS, Scenario


def require_simulable(scenario: Scenario, network: Network | None = None) -> None:
    """Raise ``ScenarioError`` for what a scenario asks for and the simulator does not have."""
    lacking = list(_lacking(scenario, network or build_network(scenario)))
    if lacking:
        raise ScenarioError(
            f"{scenario.name}: {', '.join(lacking)}: no meaning in the simulator, which loses no "
            "packets; set it to 0 or emulate"
        )


def _lacking(scenario: Scenario, network: Network) -> Iterator[str]:
    """Yield the keys, with their values; classes of links that the network lacks ask nothing."""
    for name in network.link_classes:
        loss = scenario.network.link(name).loss_percent
        if loss > 0.0:
            yield f"network.{name}.loss_percent={loss:g}"


def simulator_note(scenario: Scenario) -> str:
    """Say in a line which keys the simulator does without; "" where a scenario uses none."""
    return "; ".join(_differences(scenario))


def _differences(scenario: Scenario) -> Iterator[str]:
    if scenario.compute.work != "timed":
        yield (
            "compute.work=ffmpeg: the simulator transcodes nothing; a unit serves one task after "
            "the other for s/F each, without core_ghz, workers and the pictures' height"
        )
    limit_slots = scenario.decision.limit_slots
    if limit_slots != DECISION_LIMIT_SLOTS:
        yield f"decision.limit_slots={limit_slots:g}: the simulator waits for every decision"
