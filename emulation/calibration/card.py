"""The fidelity card: what this machine's emulation was measured to do, kept for later runs.

The card is ``fidelity.json`` in the data folder of the user behind ``sudo``
(``records.user_folders``). It is quoted only on the machine,
kernel and Open vSwitch that it was measured with: a home may be shared by several machines.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emulation.host.commands import CommandError, run
from model.errors import UserError
from records.ownership import give_to_user, make_folder
from records.plain import read_object
from records.provenance import git_state, machine, utc_now
from records.user_folders import data_folder

_SAME = ("hostname", "kernel", "cpu", "cpu_count", "open_vswitch", "datapath")
_CLOCK = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


@dataclass(frozen=True, slots=True)
class Line:
    """One figure.

    Attributes:
        probe: what was done, e.g. ``"e2d, udp"``.
        name: what was measured.
        value: the figure; None: it could not be measured.
        unit: ``""`` for shares.
        aim: what it should be at most (or at least); None: it is told, not judged.
        at_least: which of the two.
        text: the figure in words, with what else belongs to it.
    """

    probe: str
    name: str
    value: float | None
    unit: str
    aim: float | None
    text: str
    at_least: bool = False

    @property
    def ok(self) -> bool | None:
        """Whether the aim is met; None where there is none. What was not measured is not met."""
        if self.aim is None:
            return None
        if self.value is None or not math.isfinite(self.value):
            return False
        return self.value >= self.aim if self.at_least else self.value <= self.aim

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows no NaN."""
        known = self.value is not None and math.isfinite(self.value)
        return {**asdict(self), "value": self.value if known else None, "ok": self.ok}


@dataclass(frozen=True, slots=True)
class Card:
    """All lines, when and where they were measured."""

    date: str
    quick: bool
    machine: Mapping[str, Any]
    lines: tuple[Line, ...]

    @property
    def missed(self) -> list[Line]:
        """The lines that miss their aim."""
        return [line for line in self.lines if line.ok is False]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": 1,
            "date": self.date,
            "quick": self.quick,
            "met": not self.missed,
            "machine": dict(self.machine),
            "code": git_state(),
            "lines": [line.to_dict() for line in self.lines],
        }


def describe_machine(datapath: str) -> dict[str, Any]:
    """Hardware, kernel, clock and switch that the figures depend on."""
    return {
        "hostname": platform.node(),
        **machine(),
        "clock_source": _CLOCK.read_text(encoding="utf-8").strip() if _CLOCK.exists() else None,
        "open_vswitch": _open_vswitch(),
        "datapath": datapath,
    }


def new_card(lines: list[Line], surroundings: Mapping[str, Any], *, quick: bool) -> Card:
    """A card of now."""
    return Card(utc_now(), quick, surroundings, tuple(lines))


def card_path() -> Path:
    """Return where this user's card is, or will be. Raises ``UserError`` without a home folder."""
    return data_folder() / "fidelity.json"


def store(card: Card) -> Path:
    """Write the card, as the user behind ``sudo``. Raises ``OSError``."""
    path = card_path()
    make_folder(path.parent)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(card.to_dict(), indent=1) + "\n", encoding="utf-8")
    give_to_user(beside)
    beside.replace(path)
    return path


def load() -> dict[str, Any] | None:
    """The card as stored; None where there is none that can be read."""
    try:
        path = card_path()
    except UserError:  # no home, hence no card
        return None
    found = read_object(path)
    return found if found is not None and found.get("format") == 1 else None


def machine_card(datapath: str) -> dict[str, Any] | None:
    """What a run's manifest says of the machine's card; None without a card of this machine.

    Keys: ``date``, ``met``, ``missed`` (texts), ``figures``: ``"probe: name"`` → value.
    """
    card = load()
    if card is None:
        return None
    now = describe_machine(datapath)
    if any(card["machine"].get(key) != now[key] for key in _SAME):
        return None
    return {
        "date": card["date"],
        "met": card["met"],
        "missed": [f"{x['probe']}: {x['text']}" for x in card["lines"] if x["ok"] is False],
        "figures": {f"{x['probe']}: {x['name']}": x["value"] for x in card["lines"]},
    }


def _open_vswitch() -> str | None:
    try:
        words = run(["ovs-vswitchd", "--version"]).splitlines()[0].split()
    except (CommandError, IndexError):
        return None
    return words[-1]
