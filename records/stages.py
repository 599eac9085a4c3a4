"""Why a task of the table ``tasks`` has no result: the same words in both worlds."""

from __future__ import annotations

import math

NO_PATH = "no path to the target"
"""Of a task that failed in the simulator. In an emulation its device says what the network did."""


def stage(
    dispatched_s: float, arrived_s: float, service_end_s: float, *, decided: bool = False
) -> str:
    """Return where an unfinished task stood; times of what did not happen are NaN."""
    if math.isfinite(service_end_s):
        return "result on its way"
    if math.isfinite(arrived_s):
        return "waiting or in service"
    if math.isfinite(dispatched_s):
        return "on its way"
    return "waiting to be sent" if decided else "not decided"
