"""Orders to a node, after its briefing: one JSON object a line, ``cmd`` in it is the tag."""

from __future__ import annotations

from typing import Any

import msgspec

from model.errors import ProtocolError


class _Order(msgspec.Struct, tag_field="cmd"):
    """One line."""


class MeasurePaths(_Order, tag="baseline"):
    """Ping every target and open the connections; answered by ``Baseline``."""


class Begin(_Order, tag="start"):
    """Scenario time 0 is at ``t0``, a ``time.monotonic()``.

    Attributes:
        first: the first slot boundary to report, of a node that came late.
    """

    t0: float
    first: int = 0


class ShowStatus(_Order, tag="status"):
    """Q_u and F_u of a device's targets; only where ``decision.compute_status`` is "observed"."""

    queue_ghz_s: dict[str, float]
    ghz: dict[str, float]


class Decide(_Order, tag="decide"):
    """Decisions of a stepped run on the tasks of a slot: {task id: (target, rate in Mbps)}.

    See ``emulation.orchestrator.external_steps``.
    """

    slot: int
    tasks: dict[str, tuple[int, float]]


class End(_Order, tag="stop"):
    """Flush, report ``Bye`` and end with status 0."""


Order = MeasurePaths | Begin | ShowStatus | Decide | End


def parse(value: Any) -> Order:
    """Return the order of a line's JSON value. Raises ``ProtocolError`` if it is none."""
    try:
        order: Order = msgspec.convert(value, Order)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"unknown order: {error}: {str(value)[:200]}") from None
    return order
