"""Scenarios from names and files: the name that users' scripts import from.

The reader itself is ``model.scenario.load``.
"""

from model.scenario.load import find_scenario, load_scenario
from model.shipped_scenarios import scenario_names

__all__ = ["find_scenario", "load_scenario", "scenario_names"]
