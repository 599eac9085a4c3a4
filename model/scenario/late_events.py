"""A run may be shorter than the scenario that it changes: what would come later is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from model.scenario import Scenario
from model.scenario.yaml_reader import KeyPath


def late_events(scenario: Scenario, written: Callable[[KeyPath], int]) -> set[KeyPath]:
    """Return the key paths of the events that a later word about the run's length leaves out.

    An event at or after the end is a mistake in the file that has both, and none where a file on
    top of it, or the command line, makes the run shorter. ``written`` is as of
    ``model.scenario.blame``.
    """
    shortened = max(written(("slots",)), written(("slot_s",)))
    return {
        path
        for path, at_s in _timed(scenario)
        if at_s >= scenario.duration_s and written((*path, "at_s")) < shortened
    }


def without(scenario: Scenario, late: Iterable[KeyPath]) -> Scenario:
    """Return the scenario without some events, and with a note that says so."""
    gone = set(late)
    if not gone:
        return scenario
    kept = {
        kind: tuple(e for k, e in enumerate(entries) if ("events", kind, k) not in gone)
        for kind, entries in scenario.events
        if isinstance(entries, tuple)
    }
    first = min(at_s for path, at_s in _timed(scenario) if path in gone)
    many = f"{len(gone)} events" if len(gone) > 1 else "1 event"
    shorter = scenario.model_copy(update={"events": scenario.events.model_copy(update=kept)})
    return shorter.with_note(
        f"{scenario.name}: {many} from {first:g} s on left out: the run ends at "
        f"{scenario.duration_s:g} s"
    )


def _timed(scenario: Scenario) -> list[tuple[KeyPath, float]]:
    return [
        (("events", kind, k), event.at_s)
        for kind, entries in scenario.events
        if isinstance(entries, tuple)
        for k, event in enumerate(entries)
        if hasattr(event, "at_s")
    ]
