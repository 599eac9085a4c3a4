"""What there is to know of the lab's policies before a run: read from their classes, none is made.

Any process may import it. A user's own policy is not described here, since that would import its
module: see ``emulation.sandbox.policy_description``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rl.policies import checkpoint, parameters, policy_class
from rl.policies.base import Needs, Policy
from rl.policies.learned import Learned

SEES: dict[str, str] = {
    "observation": "what its device observes",
    "state": "the operator's state, once per slot",
    "truth": "everything, at the very moment",
}
"""``Policy.needs`` → what that is, in words."""
_ENTRY = re.compile(r"([a-z_][a-z0-9_, ]*): +(.*)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that ``--param`` sets.

    Attributes:
        name: as ``--param`` has it.
        kind: ``bool``, ``int``, ``float`` or ``str``.
        default: its value where none is given; "" of a checkpoint: what is shipped.
        meaning: from the class's documentation, with the unit; "" where it says nothing.
    """

    name: str
    kind: str
    default: bool | int | float | str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class ShippedCheckpoint:
    """A trained actor that comes with the lab.

    Attributes:
        scenario: what it was trained for.
        seed: of its training.
        held_out: its mean unit delay on held-out episodes, s per MB.
        file: its path.
        default: whether a run of the scenario takes it where none is named.
    """

    scenario: str
    seed: int
    held_out: float
    file: str
    default: bool


@dataclass(frozen=True, slots=True)
class PolicyDescription:
    """A policy of the lab.

    Attributes:
        name: as ``--policy`` has it.
        summary, text: the first sentence, and all, of what its class says of it.
        needs: ``observation``, ``state`` or ``truth``; see ``SEES``.
        worlds: where it can run.
        learned: whether it decides with a checkpoint.
        trained_for: the scenarios that a checkpoint of it is shipped for.
        parameters: what ``--param`` sets.
    """

    name: str
    summary: str
    text: str
    needs: Needs
    worlds: tuple[str, ...]
    learned: bool
    trained_for: tuple[str, ...]
    parameters: tuple[Parameter, ...]


def describe(name: str) -> PolicyDescription:
    """Describe a policy of the lab. Raises ``UserError`` if there is none of that name."""
    kind = policy_class(name)
    text = (inspect.getdoc(kind) or "").partition("\nArgs:")[0].strip()
    learned = issubclass(kind, Learned)
    return PolicyDescription(
        name=name,
        summary=" ".join(text.partition("\n\n")[0].split()),
        text=text,
        needs=kind.needs,
        worlds=("emulation", "simulator") if kind.needs == "observation" else ("simulator",),
        learned=learned,
        trained_for=tuple(dict.fromkeys(scenario for scenario, _ in _files(kind))),
        parameters=tuple(_parameters(kind)),
    )


def checkpoints(name: str) -> tuple[ShippedCheckpoint, ...]:
    """Read every shipped checkpoint of a policy; () of a rule. Raises ``UserError``."""
    found = [(scenario, checkpoint.load(path)) for scenario, path in _files(policy_class(name))]
    best = {
        scenario: min((one for s, one in found if s == scenario), key=lambda c: c.meta.held_out)
        for scenario, _ in found
    }
    return tuple(
        ShippedCheckpoint(
            scenario, one.meta.seed, one.meta.held_out, one.path, one is best[scenario]
        )
        for scenario, one in found
    )


def _files(kind: type[Policy]) -> list[tuple[str, str]]:
    """Return (scenario, path) of the shipped checkpoints of a learner."""
    if not issubclass(kind, Learned) or not kind.algorithm:
        return []
    paths = sorted(checkpoint.SHIPPED.glob(f"*/{kind.algorithm}-seed*.npz"))
    return [(path.parent.name, str(path)) for path in paths]


def _parameters(kind: type[Policy]) -> Iterator[Parameter]:
    meanings = _meanings(kind)
    for name, one in parameters(kind).items():
        default = None if one.default is inspect.Parameter.empty else one.default
        known = type(default).__name__ if default is not None else "any"
        yield Parameter(name, known, default, meanings.get(name, ""))


def _meanings(kind: type[Policy]) -> dict[str, str]:
    """Return what the ``Args:`` of a class, or of one that it is derived from, say of each."""
    for one in kind.__mro__:
        _, found, text = inspect.cleandoc(one.__doc__ or "").partition("\nArgs:\n")
        if found:
            return _entries(text.partition("\n\n")[0])
    return {}


def _entries(text: str) -> dict[str, str]:
    lines = inspect.cleandoc(text).splitlines()
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        match = _ENTRY.fullmatch(line)
        if match and not line.startswith(" "):
            names = [word.strip() for word in match[1].split(",")]
        for name in names:
            more = match[2] if match and not line.startswith(" ") else line.strip()
            entries[name] = f"{entries.get(name, '')} {more}".strip()
    return entries
