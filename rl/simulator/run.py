"""One run of the simulator with a policy object per device: the scalar path.

The policies see exactly what they would see in the emulation, task by task, in continuous time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.observation import DeviceProfile, Observation, TaskView
from model.random_streams import stream
from model.scenario import Scenario
from rl import policies
from rl.policies.base import Policy
from rl.policies.checking import PolicyError, checked, raised
from rl.policies.state import Layout as Whereabouts
from rl.policies.state import StatePolicy, SystemState
from rl.simulator import arrays as ix
from rl.simulator import senses
from rl.simulator.batch import PIECE_MB, Batch
from rl.simulator.layout import WIRE_OVERHEAD, Layout
from rl.simulator.record import Recorder

if TYPE_CHECKING:
    import pyarrow as pa

Accounting = Literal["realised", "paper"]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its environment, and its tables if they were asked for."""

    batch: Batch
    accounting: Accounting
    tables: dict[str, pa.Table]

    @property
    def unit_delay(self) -> float:
        """Σ E / Σ o over all tasks, s per MB; pending ones count with their elapsed time."""
        if self.accounting == "realised":
            return float(self.batch.unit_delay(self.batch.now_s)[0])
        task = self.batch.moving.task[0]
        return float(np.nansum(task[:, ix.CLOSED_FORM]) / task[:, ix.DATA].sum())


def run_simulation(
    scenario: Scenario,
    policy: str,
    params: Mapping[str, policies.Value] | None = None,
    *,
    seed: int = 0,
    slots: int | None = None,
    accounting: Accounting = "realised",
) -> dict[str, pa.Table]:
    """Run a policy by name and return the tables of ``records.schema``.

    Raises ``UserError`` if the policy or a parameter does not exist, or it decides on what is
    illegal.
    """
    chosen = dict(params or {})
    return simulate(
        scenario, lambda: policies.create(policy, chosen), seed, slots=slots, accounting=accounting
    ).tables


def simulate(  # noqa: PLR0913 - one run, and its options by name
    scenario: Scenario,
    factory: Callable[[], Policy],
    seed: int,
    *,
    slots: int | None = None,
    accounting: Accounting = "realised",
    record: bool = True,
    piece_mb: float = PIECE_MB,
    wire_overhead: float = WIRE_OVERHEAD,
    layout: Layout | None = None,
    on_slot: Callable[[int], None] | None = None,
) -> Run:
    """Run a scenario with one policy per device.

    Args:
        scenario: what to run.
        factory: makes a policy; called once per device.
        seed: of the trace, F(t), capacity processes and the policies' own randomness.
        slots: length, if not the scenario's.
        accounting: ``realised`` delays, or the closed form (5)(6)(14) at the time of the decision.
        record: whether to keep the tables.
        piece_mb: see ``Batch``.
        wire_overhead: see ``Batch``.
        layout: the layout of this very scenario, if it was made before.
        on_slot: called after each slot with its number.

    Raises ``PolicyError``, which names policy, device and value, if a policy raises or decides on
    what is illegal: see ``rl.policies.checking``.
    """
    if slots is not None and slots != scenario.slots:
        scenario, layout = scenario.model_copy(update={"slots": slots}), None
    batch = Batch(
        scenario,
        [seed],
        piece_mb=piece_mb,
        wire_overhead=wire_overhead,
        closed_form=accounting == "paper",
        layout=layout,
    )
    agents = _Agents(batch, factory, seed)
    recorder = Recorder(batch) if record else None
    for slot in range(scenario.slots):
        if recorder:
            recorder.pings()
        agents.slot()
        batch.end_slot()
        if recorder:
            recorder.slot(slot)
        if on_slot:
            on_slot(slot)
    return Run(batch, accounting, recorder.tables(accounting) if recorder else {})


class _Agents:
    """The policies of all devices in one environment."""

    def __init__(self, batch: Batch, factory: Callable[[], Policy], seed: int):
        self._batch = batch
        self._policies = [factory() for _ in batch.layout.profiles]
        self._views = _Views(batch)
        self._epoch = -1
        self._state: SystemState | None = None
        for profile, policy in zip(batch.layout.profiles, self._policies, strict=True):
            with _named(policy, "reset", profile):
                policy.reset(profile, stream(seed, "policy", profile.name))
        self._needs = self._policies[0].needs

    def slot(self) -> None:
        """One slot: everybody's ``begin_slot``, then its tasks in order of birth."""
        batch = self._batch
        now = batch.now_s
        if self._needs != "observation":
            self._attach()
            self._state = self._views.state(now)
        if any(type(p).begin_slot is not Policy.begin_slot for p in self._policies):
            for device, policy in enumerate(self._policies):
                with _named(policy, "begin_slot", batch.layout.profiles[device]):
                    policy.begin_slot(self._views.observation(device, now))
        first, last = batch.slot_tasks()
        for task in range(int(first[0]), int(last[0])):
            self._decide(task)

    def _decide(self, task: int) -> None:
        batch = self._batch
        row = batch.moving.task[0, task]
        now, device = float(row[ix.BORN]), int(batch.moving.task_ref[0, task, ix.DEVICE])
        batch.advance(0, now)
        view = TaskView(float(row[ix.WORK]), float(row[ix.DATA]))
        policy = self._policies[device]
        observation = self._views.observation(device, now)
        profile = batch.layout.profiles[device]
        with _named(policy, "decide", profile):
            if isinstance(policy, StatePolicy):
                decision = policy.decide_with_state(observation, view, self._state_now(now))
            else:
                decision = policy.decide(observation, view)
            decision = checked(decision, profile)
        batch.dispatch(0, task, decision.target, decision.rate_mbps)

    def _state_now(self, now: float) -> SystemState:
        if self._needs == "truth" or self._state is None:
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
        for device, policy in enumerate(self._policies):
            if isinstance(policy, StatePolicy):
                count = len(layout.profiles[device].targets)
                first = device * layout.targets
                policy.attach(
                    Whereabouts(
                        layout.target_unit[device, :count].astype(np.int64),
                        paths.there[table, first : first + count].astype(np.int64),
                    )
                )


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


class _Views:
    """Observations and states, read from the arrays of the first environment of a batch."""

    def __init__(self, batch: Batch):
        self._batch = batch
        self._observed = batch.scenario.decision.compute_status == "observed"
        self._own = np.zeros(2)
        self._shapes = (len(batch.network.shaped_links), len(batch.network.units))

    def observation(self, device: int, now: float) -> Observation:
        """What a device sees."""
        batch = self._batch
        view = np.empty((senses.VIEW_ROWS, batch.layout.targets))
        senses.look(batch.fixed, batch.moving, 0, device, now, self._own, view)
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
        senses.state(batch.fixed, batch.moving, 0, now, links, units)
        incoming, coming = np.zeros(self._shapes[1]), np.zeros(self._shapes[0])
        if truth:
            incoming += batch.moving.incoming[0]
            coming += np.maximum(batch.moving.link_coming[0], 0.0)
        return SystemState(
            now, 0.0, units[:, 0], units[:, 1], incoming, links[:, 0], links[:, 1] * 8.0, coming
        )
