"""Starts again what a run needs and may lose for a moment: controller, switches, edges, cloud.

Forwarding goes on without a controller, since switches keep their flows; what is not measured
meanwhile is marked in the records. A switch daemon that is started again finds its ports in the
database and its flows come from the controller. An edge comes back with an empty queue: devices
send again what they have no result of, as often as the scenario allows. A device does not come
back: its policy's state is gone, and so is what it knew of its tasks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from emulation.host import processes
from emulation.orchestrator.deployment import Machinery
from emulation.orchestrator.incidents import Incidents
from model.errors import RunError

_LOOK_S = 0.05
_MOST_RESTARTS = 3
"""Of each in a run: what dies again and again has a reason that starting it does not remove."""


class Guard:
    """Watches the processes that no run can do without."""

    def __init__(
        self, machinery: Machinery, incidents: Incidents, came_back: Callable[[str], None]
    ):
        """``came_back(name)`` is called when a process, and its channel, is another one."""
        self._machinery, self._incidents = machinery, incidents
        self._came_back = came_back
        self._restarts: Counter[str] = Counter()

    async def watch(self) -> None:
        """Watch until cancelled.

        Raises ``RunError`` if something has ended that cannot come back.
        """
        while True:
            for name, status in self._machinery.ended().items():
                self._restart(name, status)
            await asyncio.sleep(_LOOK_S)

    def _restart(self, name: str, status: int) -> None:
        self._restarts[name] += 1
        if name == "spawner" or self._restarts[name] > _MOST_RESTARTS:
            self._machinery.check_alive()
            raise RunError(f"{name} {processes.describe_end(status)} again and again")
        self._incidents.add(name, f"{name} {processes.describe_end(status)} and is started again")
        self._machinery.restart(name)
        self._came_back(name)
