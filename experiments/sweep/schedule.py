"""Carries a plan out: what is open, in the plan's order, as there is room for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from experiments.sweep.book import Book
from experiments.sweep.cell import Cell, RunCell
from experiments.sweep.execute import Job, Outcome
from experiments.sweep.lanes import Executor
from experiments.sweep.plan import Plan
from model.errors import UserError

MOST_ATTEMPTS = 3
_LOOK_EVERY_S = 0.2


class Watcher(Protocol):
    """Is told what happens."""

    def begun(self, cell: Cell) -> None:
        """A cell has begun."""

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        """A cell is done, has failed or was stopped."""

    def passed(self) -> None:
        """A moment has passed."""

    def lost(self, cell: Cell, attempt: int) -> None:
        """The process that had a cell was killed; it begins again."""


@dataclass(slots=True)
class Tally:
    """What a call of ``carry_out`` came to, by key.

    Attributes:
        done, failed: cells that ended.
        left: why cells could not be begun.
        stopped: whether it was ended early.
    """

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


def carry_out(
    plan: Plan,
    book: Book,
    executor: Executor,
    watcher: Watcher,
    make_job: Callable[[Cell], Job],
    *,
    cannot: Callable[[Cell], str] = lambda _: "",
    should_stop: Callable[[], bool] = lambda: False,
) -> Tally:
    """Carry out the cells of a plan that are neither done nor failed.

    Args:
        plan: the cells.
        book: what is known of them; gets every outcome as it comes.
        executor: where they are carried out.
        watcher: is told.
        make_job: what an executor is to do of a cell.
        cannot: why a cell cannot be carried out here; '' if it can.
        should_stop: asked a few times a second.

    Raises:
        UserError: results cannot be written any more; what is under way has been noted.
    """
    return _Schedule(plan, book, executor, watcher, make_job).run(cannot, should_stop)


class _Schedule:
    def __init__(
        self,
        plan: Plan,
        book: Book,
        executor: Executor,
        watcher: Watcher,
        make_job: Callable[[Cell], Job],
    ):
        self._plan, self._book, self._executor = plan, book, executor
        self._watcher, self._make_job = watcher, make_job
        self._waiting: dict[str, Cell] = {}
        self._running: dict[str, Cell] = {}
        self._attempts: dict[str, int] = {}
        self._unwritable = ""
        self._tally = Tally()

    def run(self, cannot: Callable[[Cell], str], should_stop: Callable[[], bool]) -> Tally:
        for key, cell in self._plan.cells.items():
            if self._book.outcome(key) is not None:
                continue
            if reason := cannot(cell):
                self._tally.left[key] = reason
            else:
                self._waiting[key] = cell
        while self._waiting or self._running:
            if (should_stop() or self._unwritable) and not self._tally.stopped:
                self._tally.stopped = True
                self._executor.ask_to_stop()
            if not self._tally.stopped:
                self._begin_what_can()
            elif not self._running:
                break
            for key, outcome in self._executor.ended(_LOOK_EVERY_S):
                self._end(self._running.pop(key), outcome)
            self._watcher.passed()
        if self._unwritable:
            raise UserError(
                f"{self._unwritable}; the sweep stops here, and the same command goes on from there"
            )
        return self._tally

    def _begin_what_can(self) -> None:
        for key, cell in list(self._waiting.items()):
            if cell.kind == "emulation" and self._simulating():
                return
            if not self._executor.has_room(cell):
                return
            checkpoint = None
            if isinstance(cell, RunCell) and cell.trained is not None:
                if reason := self._why_untrained(cell):
                    self._tally.left[key] = reason
                    del self._waiting[key]
                    continue
                checkpoint = self._book.checkpoint(cell.trained)
                if checkpoint is None:
                    continue
            del self._waiting[key]
            self._running[key] = cell
            self._attempts[key] = self._attempts.get(key, 0) + 1
            self._executor.begin(self._make_job(cell), checkpoint)
            self._watcher.begun(cell)

    def _simulating(self) -> bool:
        """Whether other work is still to be done: an emulation wants the machine for itself."""
        cells = (*self._waiting.values(), *self._running.values())
        return any(c.kind != "emulation" for c in cells)

    def _why_untrained(self, cell: RunCell) -> str:
        """Why a cell will never get its checkpoint in this sweep; '' if it has it or may."""
        trained = cell.trained
        if trained is None or trained.key in self._waiting or trained.key in self._running:
            return ""
        outcome = self._book.outcome(trained.key)
        if outcome is None:
            return f"{trained.label} has not been done"
        return "" if outcome.status == "done" else f"{trained.label} failed: {outcome.reason}"

    def _end(self, cell: Cell, outcome: Outcome | None) -> None:
        key = cell.key
        if outcome is None and self._attempts[key] < MOST_ATTEMPTS:
            self._watcher.lost(cell, self._attempts[key])
            if not self._tally.stopped:
                self._waiting = {key: cell, **self._waiting}
            return
        if outcome is None:
            words = f"its process was killed {MOST_ATTEMPTS} times (out of memory?)"
            outcome = Outcome("failed", words)
        if outcome.status == "unwritable":
            self._unwritable = outcome.reason
        if outcome.status in ("done", "failed"):
            try:
                self._book.note(cell, outcome)
            except UserError as error:
                self._unwritable = str(error)
            else:
                (self._tally.done if outcome.status == "done" else self._tally.failed).append(key)
        else:
            self._book.hand_over(key)
        self._watcher.ended(cell, outcome)
