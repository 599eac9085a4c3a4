"""Which of several keys a mistake in a scenario is blamed on: the one that was written last.

A mistake of consistency stands between keys: an event at 60 s is wrong because the run has 60
slots. Where a file sits on top of others, what it says itself is what made the whole wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from model.scenario.yaml_reader import KeyPath

_LENGTH: tuple[KeyPath, ...] = (("slots",), ("slot_s",))
_NODES: tuple[KeyPath, ...] = (("network", "base_stations"), ("network", "clusters"))
_WORK: tuple[KeyPath, ...] = (("compute", "work"), ("clips",))
_CONCERNED: tuple[tuple[KeyPath, tuple[KeyPath, ...]], ...] = (
    (("workload",), (*_LENGTH, ("network", "clusters"), *_WORK)),
    (("network", "clusters"), _NODES),
    (("compute", "device", "busy_dwell_s"), _LENGTH),
    (("compute", "device", "idle_probability"), _WORK),
    (("compute", "workers"), (("compute", "core_ghz"), ("compute", "device", "max_ghz"),
                              ("compute", "edge_ghz"))),
    (("compute", "work"), _WORK),
    (("clips",), _WORK),
    (("cloud", "mode"), _WORK),
    (("probes", "peers_per_slot"), _NODES),
)  # fmt: skip
"""Where a mistake is → what else decides whether it is one."""
_OF_EVENTS: dict[object, tuple[KeyPath, ...]] = {
    "at_s": _LENGTH,
    "every_s": (*_LENGTH, *_NODES),
    "link": _NODES,
    "link_class": (("cloud", "mode"),),
    "factor": (("network",),),
}
"""The same for the keys of an event."""


def culprit(path: KeyPath, written: Callable[[KeyPath], int]) -> KeyPath:
    """Return the key to blame for a mistake at ``path``.

    ``written`` returns in which file of a chain a key was written: 0 for the lowest, -1 for none.
    """
    if path[0:1] == ("events",):
        also = _OF_EVENTS.get(path[-1], ())
    else:
        also = next((keys for head, keys in _CONCERNED if path[: len(head)] == head), ())
    latest = max(also, key=written, default=path)
    return latest if written(latest) > written(path) else path


def name_for(stem: str, taken: tuple[str, ...]) -> str:
    """Return a name that a scenario may have, made of a file's name."""
    name = re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-_")[:36] or "my-scenario"
    return f"{name}-mine" if name in taken else name
