"""The figures, one short module each: ``draw(source) -> Drawing``.

A new one is a module with ``draw`` and a line in ``FIGURES``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.collection import Collection, OnRun
    from analysis.style import Drawing
    from analysis.training import Trainings

FIGURES: dict[str, tuple[str, str]] = {
    "3": ("fig3", "unit delay during training, by learner and case"),
    "4": ("fig4", "unit delay in test, by policy and case, beside the paper's"),
    "5": ("fig5", "critic loss during training: single, minimum, average"),
    "6": ("fig6", "load rate Q/F by kind of node"),
    "7": ("fig7", "communication overhead over the number of devices"),
    "8": ("fig8", "delay of transcoding by where it is done: client, edge, MD"),
    "9": ("fig9", "throughput of the prototype, in and out"),
    "10": ("fig10", "CPU usage of the prototype"),
    "11": ("fig11", "memory usage of the prototype"),
    "eq14": ("eq14", "pings against the queues they met, eq. (14), of one emulation"),
    "gap": ("gap", "the same runs in both worlds: delays and link loads"),
    "latency": ("latency", "how long devices take to decide"),
}
"""Name → module in this folder, and what it shows."""


@dataclass(frozen=True)
class Source:
    """Where a figure's data come from; read when first asked for.

    Attributes:
        folders: results, training runs, or folders of them.
        keep_invalid: see ``analysis.collection.collect``.
        on_run: is told of progress.
    """

    folders: tuple[Path, ...]
    keep_invalid: bool = False
    on_run: OnRun | None = None

    @cached_property
    def results(self) -> Collection:
        """The results. Raises ``UserError`` if there is none that can be used."""
        from analysis.collection import collect, some

        found = collect(self.folders, keep_invalid=self.keep_invalid, on_run=self.on_run)
        return some(found)

    @cached_property
    def trainings(self) -> Trainings:
        """The training runs. Raises ``UserError`` if there is none."""
        from analysis.training import find_trainings

        return find_trainings(self.folders)


def draw(name: str, source: Source) -> Drawing:
    """Draw a figure by its name. Raises ``UserError`` where ``source`` lacks what it needs."""
    module = importlib.import_module(f"analysis.figures.{FIGURES[name][0]}")
    function: Callable[[Source], Drawing] = module.draw
    return function(source)
