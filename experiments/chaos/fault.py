"""What a fault is: what is done to a run, and what must then be true of it."""

from __future__ import annotations

import importlib
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from emulation.orchestrator.session import DONE
from experiments.chaos.running import Ended, Running
from model.scenario import Scenario
from model.scenario.load import load_scenario
from records.reader import Result

SLOTS, SPEEDUP = 12, 5.0
"""Of a run that is hurt: two seconds and a half, during which forty tasks are born."""
_EDGE_GHZ = 8.0
KILLED = -signal.SIGKILL

Strike = Callable[["Scene"], None]
Check = Callable[["Scene", Result], list[str]]
MODULES = ("machine", "phases", "processes", "units")
"""Modules of this folder whose functions are faults. A new one is a name here."""
_FAULTS: dict[str, Fault] = {}


@dataclass(slots=True)
class Scene:
    """A run, and who hurts it.

    Attributes:
        running: the run.
        rng: draws when and how; the same seed, the same fault.
        at_unix_s: when the fault had been done, by the wall clock.
        notes: what the fault did, for who checks it afterwards.
        others: runs beside it.
    """

    running: Running
    rng: Random
    at_unix_s: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    others: list[Running] = field(default_factory=list)

    def at_s(self, result: Result) -> float:
        """When the fault had been done, scenario time."""
        begin: float = result.manifest["clocks"]["begin_unix_s"]
        return (self.at_unix_s - begin) * float(result.manifest["speedup"])

    @property
    def scenario(self) -> Scenario:
        """The run's."""
        return self.running.scenario


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and what is expected.

    Attributes:
        name, about: what it is called, and what it does.
        strike: does it, to a run that has just been started.
        statuses: exit statuses that are right.
        says: pattern of what the user must be told, on the terminal or by the verdict; ``''``: no
            incident may be told; None: one may or may not.
        policy: of the devices.
        check: what else must be true of the result; returns complaints.
        prepare: makes the result root or the machine special before the run; returns what undoes
            it.
        lacking: says what this machine lacks for it, '' if nothing.
        environment: what the run is started with beside, given a folder for it to use.
    """

    name: str
    about: str
    strike: Strike
    statuses: frozenset[int] = frozenset({DONE})
    says: str | None = ""
    policy: str = "own-edge"
    check: Check | None = None
    prepare: Callable[[Path], Callable[[], object]] | None = None
    lacking: Callable[[], str] = str
    environment: Callable[[Path], Mapping[str, str]] | None = None

    def wrong(self, scene: Scene, ended: Ended, verdict: str) -> list[str]:
        """What the user was told wrongly or not at all."""
        complaints = []
        if ended.status not in self.statuses:
            complaints.append(f"status {ended.status} instead of {sorted(self.statuses)}")
        if "Traceback" in ended.output:
            complaints.append("a traceback instead of a line")
        if self.says and not re.search(self.says, f"{ended.output}\n{verdict}"):
            complaints.append(f"nobody said '{self.says}'")
        if self.says == "" and (told := re.search(r"(?m)^note: at .*", ended.output)):
            complaints.append(f"an incident without a reason: {told[0]}")
        return complaints


def fault(**about: Any) -> Callable[[Strike], Strike]:
    """Enter a function as a fault: its name with hyphens, its docstring's first line, ``about``."""

    def enter(strike: Strike) -> Strike:
        name = strike.__name__.replace("_", "-")
        said = (strike.__doc__ or "").partition("\n")[0].strip()
        _FAULTS[name] = Fault(name, said, strike, **about)
        return strike

    return enter


def all_faults() -> dict[str, Fault]:
    """Every fault by name, in the order in which they are written."""
    for module in MODULES:
        importlib.import_module(f"experiments.chaos.{module}")
    return _FAULTS


def short_scenario() -> Scenario:
    """``mini``, short, with an edge server at which tasks queue."""
    return load_scenario("mini", {"slots": SLOTS, "compute.edge_ghz": _EDGE_GHZ})
