"""What several policies came to in the same episodes: input of a table that compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Any]
"""Of one episode, flat, as the index of a sweep has them: ``unit_delay``, ``tasks_done``, …"""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A policy with its parameters; ``label`` names it.

    Attributes:
        params: plain values by name.
        sees: what it decides from: ``observation``, ``state`` or ``truth``.
        is_trained: it has a checkpoint.
        is_rule: a policy of the lab that was not trained.
        group: the row of the table that it belongs to: checkpoints of an algorithm that differ in
            their training seed only share one.
    """

    label: str
    policy: str
    params: Mapping[str, Any]
    sees: str
    is_trained: bool
    is_rule: bool
    group: str = ""

    @property
    def row(self) -> str:
        """What the table calls it."""
        return self.group or self.label


@dataclass(frozen=True, slots=True)
class Played:
    """What the entrants of a scenario came to.

    Attributes:
        scenario: its name.
        duration_s: T.
        entrants: in the order asked for.
        seeds: of the episodes.
        metrics: of the episodes that are done, by (label, seed).
    """

    scenario: str
    duration_s: float
    entrants: tuple[Entrant, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[tuple[str, int], Metrics]
