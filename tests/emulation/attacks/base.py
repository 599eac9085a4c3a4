"""What an attack is, and how it tells what came of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model.observation import DeviceProfile, Observation

PREFIX = "attack"
"""An attack's line in the run's log: ``policy: begin_slot: Report: attack|name|got|how``."""


class Report(Exception):  # noqa: N818 - it is how a policy makes the device write a line
    """Carries an attack's outcome into the run's log, as a policy's complaint."""


class Got(Exception):  # noqa: N818 - the opposite of an error, for the attacker
    """The attack has worked: what it got."""


@dataclass(slots=True)
class Scene:
    """What an attack has to work with inside a device's process."""

    profile: DeviceProfile
    observation: Observation
    policy: object
    project: str
    out: str
    """The folder of results, told to the attacker to save it guessing."""
    own: frozenset[int]
    foreign: frozenset[int]
    """Masked bits of numbers that the device may and may not know, so that a search for them does
    not find itself; ``masked`` makes them."""


MASK = 0x9E3779B97F4A7C15
"""A number is disguised by this factor. Done twice it gives another number again, so that a search
does not undo the disguise of what it is looking for, and find that."""


def masked(value: float) -> int:
    """The bits of a float, disguised."""
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits * MASK % 2**64


Attack = Callable[[Scene], str]
"""Raises ``Got`` if it works, returns or raises how it failed if not."""
ATTACKS: dict[str, Attack] = {}
INTENTS: dict[str, str] = {}


def attack(function: Attack) -> Attack:
    """Enter an attack into the suite; its docstring's first line says what it tries."""
    name = function.__name__.replace("_", "-")
    ATTACKS[name] = function
    INTENTS[name] = (function.__doc__ or "").splitlines()[0].rstrip(".")
    return function


def carry_out(name: str, scene: Scene) -> tuple[bool, str]:
    """Whether an attack worked, and what it says."""
    try:
        return False, ATTACKS[name](scene)
    except Got as loot:
        return True, str(loot)
    except Exception as error:  # noqa: BLE001 - whatever stops an attack, it is stopped
        return False, f"{type(error).__name__}: {error}"


def each(tries: Mapping[str, Callable[[], object]]) -> str:
    """Try several ways; raises ``Got`` for the first that works, else how the last one failed."""
    how = "nothing to try"
    for what, attempt in tries.items():
        try:
            loot = attempt()
        except Got as error:
            raise Got(f"{what}: {error}") from error
        except Exception as error:  # noqa: BLE001 - whatever stops an attack, it is stopped
            how = f"{what}: {type(error).__name__}: {error}"
        else:
            raise Got(f"{what}: {loot!r:.120}")
    return f"{len(tries)} ways, the last one {how}"
