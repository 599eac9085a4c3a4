"""What may be believed of what nodes report: everybody speaks of what is theirs.

A device's process runs a user's policy, which could write anything into its channel to the
orchestrator. A device may tell of its own tasks; a unit may tell of a task only if its device has
sent it there (or an edge, the cloud behind it, has passed it on).
"""

from __future__ import annotations

from emulation.messages import Arrived, Born, Dispatched, Failed, Known, Service
from model.network import Network
from model.workload import TaskTrace

_MAX_EARLY = 4
"""An arrival and a service of a task, twice, may be reported by a unit before the birth is."""

TaskRecord = Born | Dispatched | Arrived | Service | Known | Failed


class Witness:
    """Passes on what is credible, holding back what only its owner's word can confirm.

    Attributes:
        elsewhere: of devices whose tasks came to an edge, or the cloud, that they have not named,
            the first such task.
    """

    def __init__(self, network: Network, trace: TaskTrace, *, overflow: bool):
        self._owners = [network.devices[int(k)].name for k in trace.device]
        self._index = {d.name: k for k, d in enumerate(network.devices)}
        self._kinds = {n.name: n.kind for n in network.units}
        self._overflow = overflow
        self._target: dict[int, str] = {}
        self.elsewhere: dict[str, str] = {}
        self._early: dict[int, list[tuple[str, Arrived | Service]]] = {}

    def hear(self, name: str, record: TaskRecord) -> list[TaskRecord]:
        """What a report by the node ``name`` allows to be entered, in order.

        Raises ``ValueError`` if it is not for that node to say.
        """
        task = record.task
        if not 0 <= task < len(self._owners):
            if isinstance(record, Arrived | Service) and record.device is not None:
                return []  # a stranger's number, which is not this node's fault
            raise ValueError(f"speaks of task {task}, which does not exist")
        owner = self._owners[task]
        if isinstance(record, Arrived | Service):
            return self._from_unit(name, owner, record)
        if name != owner:
            raise ValueError(f"speaks of task {task}, which is {owner}'s")
        if not isinstance(record, Born):
            return [record]
        if record.target not in self._kinds or task in self._target:
            raise ValueError(f"sends task {task} to {record.target[:40]}")
        self._target[task] = record.target
        early = self._early.pop(task, [])
        return [record, *(r for n, r in early if self._is_there(n, owner, task, record.target))]

    def _from_unit(self, name: str, owner: str, record: Arrived | Service) -> list[TaskRecord]:
        device = self._index.get(name) if record.device is None else record.device
        if device != self._index[owner]:
            # Whoever sent it gave it a number that is not its own; so nothing is entered for it.
            return []
        target = self._target.get(record.task)
        if target is not None:
            return [record] if self._is_there(name, owner, record.task, target) else []
        held = self._early.setdefault(record.task, [])
        if sum(who == name for who, _ in held) < _MAX_EARLY:
            held.append((name, record))
        return []

    def _is_there(self, name: str, owner: str, task: int, target: str) -> bool:
        """Whether a task that has come to a unit was sent there, by its owner's own word."""
        if self._may_serve(name, target):
            return True
        # Of a device, which may run a policy, the word against another counts for nothing.
        if self._kinds[name] != "device":
            self.elsewhere.setdefault(owner, f"sends task {task} to {name}, and says {target}")
        return False

    def _may_serve(self, name: str, target: str) -> bool:
        passed_on = self._overflow and self._kinds[name] == "cloud"
        return name == target or (passed_on and self._kinds[target] == "edge")
