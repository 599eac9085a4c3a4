"""A shaped link in one slot, as results, the operator's API and the simulator have it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.rates import BYTES_PER_MB, MBPS_PER_MB_S, bytes_per_s


class LinkRow(NamedTuple):
    """What a link did in a slot, scenario bytes.

    Attributes:
        rate_mbps: c_l at the slot's end.
        backlog_bytes: V_l, measured in its queue at the slot's end.
        virtual_backlog_bytes: V_l of eq. (2), from the bytes offered and served.
        sent_bytes: in the slot.
        drops: packets that its queue has refused in the slot.
        load_s: V_l / c_l, of the measured V_l.
        utilisation: bytes sent over c_l Δt.
        up: whether it has a carrier.
    """

    rate_mbps: float
    backlog_bytes: float
    virtual_backlog_bytes: float
    sent_bytes: float
    drops: int
    load_s: float
    utilisation: float
    up: bool


class LinkCounters:
    """Rows from a link's counters, which hold real bytes since the first slot began.

    Args:
        slot_s: Δt, scenario time.
        speedup: scenario seconds per real second; a real byte stands for so many.
    """

    def __init__(self, slot_s: float, speedup: float = 1.0):
        self.speedup = speedup
        self._slot_s = slot_s
        self._totals: dict[str, tuple[int, int]] = {}

    def row(
        self, sample: tuple[str, int, int, int, bool], virtual: float, rate_mbps: float
    ) -> LinkRow:
        """Return the row of the slot that has ended.

        Args:
            sample: (link, backlog, bytes sent, packets dropped, up); both totals since the start.
            virtual: V_l of eq. (2), real bytes.
            rate_mbps: c_l now.
        """
        link, backlog, sent, drops, up = sample
        sent_before, drops_before = self._totals.get(link, (0, 0))
        self._totals[link] = (sent, drops)
        backlog_bytes = backlog * self.speedup
        sent_bytes = (sent - sent_before) * self.speedup
        rate_bytes_per_s = bytes_per_s(rate_mbps)
        return LinkRow(
            rate_mbps=rate_mbps,
            backlog_bytes=backlog_bytes,
            virtual_backlog_bytes=virtual * self.speedup,
            sent_bytes=sent_bytes,
            drops=drops - drops_before,
            load_s=backlog_bytes / rate_bytes_per_s,
            utilisation=sent_bytes / (rate_bytes_per_s * self._slot_s),
            up=up,
        )

    def restart(self) -> None:
        """The totals that come next begin at 0 again."""
        self._totals.clear()

    def drops(self) -> dict[str, int]:
        """Link → packets dropped since the start."""
        return {link: drops for link, (_, drops) in self._totals.items()}


def simulated_columns(
    backlog_mb: NDArray[np.float64],
    virtual_mb: NDArray[np.float64],
    sent_mb: NDArray[np.float64],
    rate_mb_s: NDArray[np.float64],
    slot_s: float,
) -> dict[str, Any]:
    """Return the fields of ``LinkRow`` of all links, each an array (links,); a fluid loses nothing.

    A link that is down has the rate 0, and no load.
    """
    up = rate_mb_s > 0.0
    zero = np.zeros(len(rate_mb_s))
    return {
        "rate_mbps": rate_mb_s * MBPS_PER_MB_S,
        "backlog_bytes": backlog_mb * BYTES_PER_MB,
        "virtual_backlog_bytes": virtual_mb * BYTES_PER_MB,
        "sent_bytes": sent_mb * BYTES_PER_MB,
        "drops": np.zeros(len(rate_mb_s), dtype=np.int64),
        "load_s": np.divide(backlog_mb, rate_mb_s, out=zero.copy(), where=up),
        "utilisation": np.divide(sent_mb, rate_mb_s * slot_s, out=zero.copy(), where=up),
        "up": up,
    }
