"""How long cells take: from those that were measured before, else by a stated rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from experiments.sweep.cell import Cell, RunCell, TrainCell, device_count

STATED_S = {"training": 1e-4, "simulator": 3e-4}
"""Seconds per device and slot where nothing has been measured: one core of a virtual machine
(AMD EPYC), case3 with 45 devices, 25 November 2026."""
BEGIN_S = {"training": 10.0, "simulator": 0.1, "emulation": 8.0}
"""Seconds of a cell of any length: loading torch and evaluating, writing, bringing up."""


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
        self._known: dict[str, float] = {}
        for cell, seconds in measured:
            self.learn(cell, seconds)

    def learn(self, cell: Cell, seconds: float) -> None:
        """Take a measured cell into account."""
        for group in ((cell.kind, cell.policy), (cell.kind, "")):
            self._seconds[group] += seconds
            self._sizes[group] += self._size(cell)
            self._cells[group] += 1

    def expect(self, cell: Cell) -> float:
        """Seconds that a cell will take; by its policy, else its kind, else the stated rate."""
        size = self._size(cell)
        for group in ((cell.kind, cell.policy), (cell.kind, "")):
            if not self._cells[group]:
                continue
            many, seconds, sizes = self._cells[group], self._seconds[group], self._sizes[group]
            if cell.kind == "emulation":
                return size + max(0.0, (seconds - sizes) / many)
            begin = min(BEGIN_S[cell.kind], 0.5 * seconds / many)
            return begin + size * (seconds - begin * many) / sizes
        return BEGIN_S[cell.kind] + size * STATED_S.get(cell.kind, 1.0)

    def _size(self, cell: Cell) -> float:
        if cell.key not in self._known:
            self._known[cell.key] = _size(cell)
        return self._known[cell.key]

    def source(self, cell: Cell) -> str:
        """Where the expectation for a cell comes from."""
        for group, words in (((cell.kind, cell.policy), ""), ((cell.kind, ""), " of others")):
            if self._cells[group]:
                return f"{self._cells[group]} measured{words}"
        return "stated rate"
