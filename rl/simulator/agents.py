"""The devices' decisions of one simulation, slot by slot.

``Agents`` says when a device is asked, and carries out what it decides. ``LocalAgents`` asks policy
objects in this process. ``experiments.guest_agents`` asks processes of a user's policy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from model.random_streams import stream
from rl.policies.base import Policy
from rl.policies.checking import PolicyError, checked, raised
from rl.policies.state_policy import Layout as Whereabouts
from rl.policies.state_policy import StatePolicy, SystemState
from rl.simulator import observe
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch


class Agents(ABC):
    """The policies of all devices in one environment.

    Attributes:
        needs: what the policies must be given (``rl.policies.base.Needs``).
        begins: whether they have a ``begin_slot``.
    """

    def __init__(self, batch: Batch, needs: str, *, begins: bool):
        self._batch = batch
        self._views = Views(batch)
        self.needs, self.begins = needs, begins
        self._epoch = -1
        self._state: SystemState | None = None

    @abstractmethod
    def attach(self, device: int, layout: Whereabouts) -> None:
        """Say where a device's targets are in the state; for policies that need it."""

    @abstractmethod
    def begin_slot(self, now: float) -> None:
        """Have all devices begin a slot."""

    @abstractmethod
    def decide(self, device: int, now: float, task: TaskView) -> Decision:
        """A device's decision on a task, which is legal.

        Raises ``PolicyError`` if the policy raises or decides on what is illegal.
        """

    def slot(self) -> None:
        """Play a slot: ``begin_slot`` of every device, then the slot's tasks in order of birth.

        One task after the other: a decision changes what other devices see later in the slot.
        """
        batch = self._batch
        now = batch.now_s
        if self.needs != "observation":
            self._attach()
            self._state = self._views.state(now)
        if self.begins:
            self.begin_slot(now)
        first, last = batch.slot_tasks()
        for task in range(int(first[0]), int(last[0])):
            row = batch.moving.task[0, task]
            born, device = float(row[ix.BORN]), int(batch.moving.task_ref[0, task, ix.DEVICE])
            batch.advance(0, born)
            view = TaskView(float(row[ix.WORK]), float(row[ix.DATA]))
            decision = self.decide(device, born, view)
            batch.dispatch(0, task, decision.target, decision.rate_mbps)

    def state_now(self, now: float) -> SystemState:
        """The state that a policy decides by: of the slot's start, or the truth of this moment."""
        if self.needs == "truth" or self._state is None:
            return self._views.state(now, truth=True)
        gathered = self._state
        return SystemState(
            now, now - self._batch.now_s, gathered.queue_ghz_s, gathered.ghz,
            gathered.incoming_ghz_s, gathered.backlog_mb, gathered.rate_mbps, gathered.coming_mb,
        )  # fmt: skip

    def _attach(self) -> None:
        paths, layout = self._batch.layout.paths, self._batch.layout
        epoch = int(np.searchsorted(paths.start_s, self._batch.now_s, side="right")) - 1
        if epoch == self._epoch:
            return
        self._epoch, table = epoch, int(paths.table[epoch])
        for device, profile in enumerate(layout.profiles):
            count, first = len(profile.targets), device * layout.targets
            there = Whereabouts(
                layout.target_unit[device, :count].astype(np.int64),
                paths.there[table, first : first + count].astype(np.int64),
            )
            self.attach(device, there)


class LocalAgents(Agents):
    """Policy objects in this process.

    Raises ``PolicyError``, which names policy, device and value, if a policy raises.
    """

    def __init__(self, batch: Batch, factory: Callable[[], Policy], seed: int):
        self._policies = [factory() for _ in batch.layout.profiles]
        begins = any(type(p).begin_slot is not Policy.begin_slot for p in self._policies)
        super().__init__(batch, self._policies[0].needs, begins=begins)
        self._profiles = batch.layout.profiles
        for profile, policy in zip(self._profiles, self._policies, strict=True):
            with _named(policy, "reset", profile):
                policy.reset(profile, stream(seed, "policy", profile.name))

    def attach(self, device: int, layout: Whereabouts) -> None:
        """Call ``attach`` of policies that decide by the state."""
        policy = self._policies[device]
        if isinstance(policy, StatePolicy):
            policy.attach(layout)

    def begin_slot(self, now: float) -> None:
        """Call every policy's ``begin_slot``."""
        for device, policy in enumerate(self._policies):
            with _named(policy, "begin_slot", self._profiles[device]):
                policy.begin_slot(self._views.observation(device, now))

    def decide(self, device: int, now: float, task: TaskView) -> Decision:
        """Call ``decide``, or ``decide_with_state``."""
        policy, profile = self._policies[device], self._profiles[device]
        observation = self._views.observation(device, now)
        with _named(policy, "decide", profile):
            if isinstance(policy, StatePolicy):
                decision = policy.decide_with_state(observation, task, self.state_now(now))
            else:
                decision = policy.decide(observation, task)
            return checked(decision, profile)


class _named:  # noqa: N801 - read as a statement; contextmanager takes three times as long
    """Context in which errors of a policy's method name the policy and its device."""

    __slots__ = ("_method", "_policy", "_profile")

    def __init__(self, policy: Policy, method: str, profile: DeviceProfile):
        self._policy, self._method, self._profile = policy, method, profile

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception | SystemExit):
            fault = error if isinstance(error, PolicyError) else raised(self._method, error)
            who = f"policy {type(self._policy).__name__} on {self._profile.name}"
            found = PolicyError(f"{who}: {fault}")
            found.trace = fault.trace
            raise found from error


class Views:
    """Observations and states, read from the arrays of the first environment of a batch."""

    def __init__(self, batch: Batch):
        self._batch = batch
        self._observed = batch.scenario.decision.compute_status == "observed"
        self._own = np.zeros(2)
        self._shapes = (len(batch.network.shaped_links), len(batch.network.units))

    def observation(self, device: int, now: float) -> Observation:
        """What a device sees."""
        batch = self._batch
        view = np.empty((observe.VIEW_ROWS, batch.layout.targets))
        observe.look(batch.fixed, batch.moving, 0, device, now, self._own, view)
        count = len(batch.layout.profiles[device].targets)
        status: Iterable[np.ndarray | None] = (None, None)
        if self._observed:
            state = self.state(now)
            units = batch.layout.target_unit[device, :count]
            status = (state.queue_ghz_s[units], state.ghz[units])
        return Observation(now, float(self._own[0]), float(self._own[1]), *view[:, :count], *status)

    def state(self, now: float, *, truth: bool = False) -> SystemState:
        """The operator's state; with ``truth`` also the work under way."""
        batch = self._batch
        links, units = np.empty((self._shapes[0], 2)), np.empty((self._shapes[1], 2))
        observe.state(batch.fixed, batch.moving, 0, now, links, units)
        incoming, coming = np.zeros(self._shapes[1]), np.zeros(self._shapes[0])
        if truth:
            incoming += batch.moving.incoming[0]
            coming += np.maximum(batch.moving.link_coming[0], 0.0)
        return SystemState(
            now, 0.0, units[:, 0], units[:, 1], incoming, links[:, 0], links[:, 1] * 8.0, coming
        )
