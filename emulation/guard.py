"""Starts again what a run needs and may lose for a moment: the controller and the switches.

Forwarding goes on without a controller, since switches keep their flows; what is not measured
meanwhile is marked in the records. A switch daemon that is started again finds its ports in the
database and its flows come from the controller. Nodes are not started again: what a dead one knew
of its tasks is gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from emulation import processes
from emulation.incidents import Incidents
from emulation.machinery import Machinery

_LOOK_S = 0.05
_MOST_RESTARTS = 3
"""Of each in a run: what dies again and again has a reason that starting it does not remove."""


class Guard:
    """Watches the processes that no run can do without."""

    def __init__(
        self, machinery: Machinery, incidents: Incidents, controller_back: Callable[[], None]
    ):
        """``controller_back`` is called when ``machinery.controller`` is another one."""
        self._machinery, self._incidents = machinery, incidents
        self._controller_back = controller_back
        self._restarts: Counter[str] = Counter()

    async def watch(self) -> None:
        """Watch until cancelled.

        Raises ``CommandError`` if something has ended that cannot be started again.
        """
        while True:
            for name, status in self._machinery.ended().items():
                self._restart(name, status)
            await asyncio.sleep(_LOOK_S)

    def _restart(self, name: str, status: int) -> None:
        self._restarts[name] += 1
        if name not in Machinery.RESTARTABLE or self._restarts[name] > _MOST_RESTARTS:
            self._machinery.check_alive()
        self._incidents.add(name, f"{name} {processes.describe_end(status)} and is started again")
        self._machinery.restart(name)
        if name == "controller":
            self._controller_back()
