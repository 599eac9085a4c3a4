"""How long cells take: from those that were measured before, else by a stated rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from experiments.sweep.cell import Cell, RunCell, TrainCell, device_count

STATED_S = {"training": 1.5e-4, "simulator": 3e-4}
"""Seconds per device and slot where nothing has been measured: two cores of a virtual machine
(AMD EPYC), case3 with 45 devices, 25 November 2026."""
BRING_UP_S = 8.0
"""Of an emulation, with its end, where none has been measured."""


def _size(cell: Cell) -> float:
    """Device-slots; of an emulation its length, in real seconds."""
    if isinstance(cell, RunCell) and cell.world == "emulation":
        return cell.scenario.duration_s / cell.speedup
    slots = cell.config.slots if isinstance(cell, TrainCell) else cell.scenario.slots
    return float(slots * device_count(cell.scenario))


class Pace:
    """Expected seconds of a cell, learnt from measured ones."""

    def __init__(self, measured: Iterable[tuple[Cell, float]] = ()):
        self._seconds: dict[tuple[str, str], float] = defaultdict(float)
        self._sizes: dict[tuple[str, str], float] = defaultdict(float)
        self._cells: dict[tuple[str, str], int] = defaultdict(int)
        for cell, seconds in measured:
            self.learn(cell, seconds)

    def learn(self, cell: Cell, seconds: float) -> None:
        """Take a measured cell into account."""
        for group in ((cell.kind, cell.policy), (cell.kind, "")):
            self._seconds[group] += seconds
            self._sizes[group] += _size(cell)
            self._cells[group] += 1

    def expect(self, cell: Cell) -> float:
        """Seconds that a cell will take; by its policy, else its kind, else the stated rate."""
        size = _size(cell)
        for group in ((cell.kind, cell.policy), (cell.kind, "")):
            if not self._cells[group]:
                continue
            if cell.kind == "emulation":
                extra = (self._seconds[group] - self._sizes[group]) / self._cells[group]
                return size + max(0.0, extra)
            return size * self._seconds[group] / self._sizes[group]
        return size + BRING_UP_S if cell.kind == "emulation" else size * STATED_S[cell.kind]

    def source(self, cell: Cell) -> str:
        """Where the expectation for a cell comes from."""
        for group, words in (((cell.kind, cell.policy), ""), ((cell.kind, ""), " of others")):
            if self._cells[group]:
                return f"{self._cells[group]} measured{words}"
        return "stated rate"
