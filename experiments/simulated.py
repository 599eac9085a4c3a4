"""A run of the simulator as a result folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
from numba.core import caching

from experiments import guest
from model.observation import Decision, Observation, TaskView
from model.scenario import Scenario
from model.worlds import require_simulable, simulator_note
from records.ownership import give_tree_to_user
from records.writer import ResultWriter, RunInfo, result_folder
from rl import policies
from rl.policies.base import Policy
from rl.policies.checking import PolicyError
from rl.simulator.layout import Layout
from rl.simulator.run import simulate

_WARM_SLOTS = 3


def simulate_to_folder(  # noqa: PLR0913 - a run, by name
    scenario: Scenario,
    policy: str,
    params: Mapping[str, policies.Value],
    seed: int,
    out: Path,
    *,
    command_line: Sequence[str] = (),
    origin: Mapping[str, object] | None = None,
    on_slot: Callable[[int], None] | None = None,
) -> Path:
    """Simulate and return the folder of the result, which is made below ``out``.

    ``origin``: what the run is part of, further entries of the manifest.

    Raises ``UserError`` if the policy or a parameter does not exist, the scenario asks for what the
    simulator lacks, or nothing can be written.
    """
    require_simulable(scenario)
    params = policies.canonical(policy, params)
    if guest.guest_file(policy) is None:
        policies.create(policy, params)
    note = simulator_note(scenario)
    info = RunInfo(
        scenario=scenario.with_note(note) if note else scenario,
        policy=policy,
        seed=seed,
        world="simulation",
        policy_params=params,
        command_line=command_line,
        extra={**policies.checkpoint_entry(policy, params, scenario), **(origin or {})},
    )
    with ResultWriter(result_folder(out, info), info) as writer:
        try:
            tables = simulated(scenario, policy, params, seed, on_slot=on_slot)
        except PolicyError as error:
            writer.log("policy failed", "error", text=str(error), traceback=error.trace)
            give_tree_to_user(writer.folder)
            if not error.trace:
                raise
            raise PolicyError(
                f"{error}; its traceback is in {writer.folder / 'log.jsonl'}"
            ) from error
        for name, table in tables.items():
            columns = {c: table[c].combine_chunks() for c in table.column_names}
            writer.append_columns(name, columns)
        writer.update_manifest(complete=True, ran_s=scenario.duration_s)
    give_tree_to_user(writer.folder)
    return writer.folder


def simulated(
    scenario: Scenario,
    policy: str,
    params: Mapping[str, policies.Value],
    seed: int,
    *,
    layout: Layout | None = None,
    on_slot: Callable[[int], None] | None = None,
) -> dict[str, pa.Table]:
    """The tables of a run; root has a policy of a user's own run in a guest process.

    Raises ``UserError`` if the policy or a parameter does not exist.
    """

    def run(after_slot: Callable[[int], None] | None) -> dict[str, pa.Table]:
        factory = partial(policies.create, policy, params)
        return simulate(scenario, factory, seed, layout=layout, on_slot=after_slot).tables

    if guest.guest_file(policy) is None:
        return run(on_slot)
    # Compiles, or loads, here what a guest could not keep for the next one.
    simulate(scenario, _Looking, seed, slots=min(_WARM_SLOTS, scenario.slots))

    def run_as_guest(after_slot: Callable[[int], None]) -> dict[str, pa.Table]:
        # Of what it still has to compile, a guest may write nothing into the user's cache.
        setattr(caching.Cache, "save_overload", lambda *_: None)  # noqa: B010 - for the type checker
        return run(after_slot)

    return guest.tables_of(policy, run_as_guest, on_slot)


class _Looking(Policy):
    """Uses all that a policy may ask a simulation for."""

    def begin_slot(self, observation: Observation) -> None:
        """Has it made."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """To each target in turn."""
        return Decision(
            int(self.rng.integers(len(self.profile.targets))), self.profile.max_rate_mbps
        )
