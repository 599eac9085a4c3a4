"""A run of the simulator as a result folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa

from emulation.judged import policy_hashes
from emulation.sandbox.policy_description import require_parameters
from emulation.sandbox.policy_files import is_users
from experiments import guest
from model.scenario import Scenario
from model.worlds import require_simulable, simulator_note
from records.ownership import give_tree_to_user
from records.streams import say
from records.writer import ResultWriter, RunInfo, result_folder
from rl import policies
from rl.policies.checking import PolicyError
from rl.simulator.layout import Layout
from rl.simulator.run import simulate


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
    if is_users(policy):
        require_parameters(policy, params)
    else:
        policies.create(policy, params)
    note = simulator_note(scenario)
    info = RunInfo(
        scenario=scenario.with_note(note) if note else scenario,
        policy=policy,
        seed=seed,
        world="simulation",
        policy_params=params,
        command_line=command_line,
        extra={
            "policy_files": policy_hashes(policy, params),
            **policies.checkpoint_entry(policy, params, scenario),
            **({"missing_walls": walls} if (walls := guest.missing_walls(policy)) else {}),
            **(origin or {}),
        },
    )
    with ResultWriter(result_folder(out, info), info) as writer:

        def on_print(line: str) -> None:
            writer.log(line)
            say(line, err=True)

        try:
            tables = simulated(scenario, policy, params, seed, on_slot=on_slot, on_print=on_print)
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
    on_slot: Callable[[int], None] | None = None,
    on_print: Callable[[str], None] | None = None,
) -> dict[str, pa.Table]:
    """The tables of a run; a user's policy is asked in processes of its own.

    ``on_print``: takes what such a policy prints; else it goes to standard error.

    Raises ``UserError`` if the policy or a parameter does not exist, ``PolicyError`` for what the
    policy does.
    """
    layout = _layout(scenario.model_dump_json())
    if is_users(policy):
        return guest.simulated_by_guests(
            scenario, policy, params, seed, layout=layout, on_slot=on_slot, on_print=on_print
        )
    factory = partial(policies.create, policy, params)
    return simulate(scenario, factory, seed, layout=layout, on_slot=on_slot).tables


@lru_cache(maxsize=4)
def _layout(scenario_json: str) -> Layout:
    """What all runs of a scenario share: finding its paths takes longer than a short run."""
    scenario = Scenario.model_validate_json(scenario_json)
    return Layout.of(scenario)
