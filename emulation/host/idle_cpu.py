"""How much of the machine was idle: the first thing that makes an emulation's numbers doubtful."""

from __future__ import annotations

import psutil


class CpuWatch:
    """Share of all cores that was idle since the last question."""

    def __init__(self) -> None:
        self._last = psutil.cpu_times()

    def idle_share(self) -> float:
        """Idle share, 0 to 1, of all cores since the previous call (or construction).

        Time that the hypervisor gave to others counts as not idle: it was not ours to use.
        """
        now, last = psutil.cpu_times(), self._last
        self._last = now
        idle = (now.idle + getattr(now, "iowait", 0.0)) - (last.idle + getattr(last, "iowait", 0.0))
        total = sum(_exclusive(now)) - sum(_exclusive(last))
        return min(1.0, max(0.0, idle / total)) if total > 0 else 1.0


def _exclusive(times: object) -> list[float]:
    """The states that add up to all time (guest time is counted in user time already)."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return [float(getattr(times, name, 0.0)) for name in names]
