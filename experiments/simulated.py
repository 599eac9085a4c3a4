"""A run of the simulator as a result folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from model.scenario import Scenario
from records.ownership import give_tree_to_user
from records.writer import ResultWriter, RunInfo, result_folder
from rl import policies
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

    Raises ``UserError`` if the policy or a parameter does not exist, or nothing can be written.
    """
    params = policies.canonical(policy, params)
    policies.create(policy, params)
    info = RunInfo(
        scenario=scenario,
        policy=policy,
        seed=seed,
        world="simulation",
        policy_params=params,
        command_line=command_line,
        extra={**policies.checkpoint_entry(policy, params, scenario), **(origin or {})},
    )
    with ResultWriter(result_folder(out, info), info) as writer:
        run = simulate(scenario, lambda: policies.create(policy, params), seed, on_slot=on_slot)
        for name, table in run.tables.items():
            columns = {c: table[c].combine_chunks() for c in table.column_names}
            writer.append_columns(name, columns)
        writer.update_manifest(complete=True, ran_s=scenario.duration_s)
    give_tree_to_user(writer.folder)
    return writer.folder
