"""One run of the simulator with a policy object per device: the scalar path.

The policies see exactly what they would see in the emulation, task by task, in continuous time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.packet_sizes import WIRE_OVERHEAD
from model.scenario import Scenario
from rl import policies
from rl.policies.base import Policy
from rl.simulator import state_arrays as ix
from rl.simulator.agents import Agents, LocalAgents
from rl.simulator.batch import PIECE_MB, Batch
from rl.simulator.layout import Layout
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
    agents = LocalAgents(batch, factory, seed)
    return play(batch, agents, accounting, record=record, on_slot=on_slot)


def play(
    batch: Batch,
    agents: Agents,
    accounting: Accounting = "realised",
    *,
    record: bool = True,
    on_slot: Callable[[int], None] | None = None,
) -> Run:
    """Run a batch of one environment, which has just been made, to its end; else as ``simulate``.

    ``accounting`` must be the one that the batch was made for.
    """
    recorder = Recorder(batch) if record else None
    for slot in range(batch.scenario.slots):
        if recorder:
            recorder.pings()
        agents.slot()
        batch.end_slot()
        if recorder:
            recorder.slot(slot)
        if on_slot:
            on_slot(slot)
    return Run(batch, accounting, recorder.tables(accounting) if recorder else {})
