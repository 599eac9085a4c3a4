"""Runs for a comparison of the two worlds: made, or found among results that are there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.worlds.comparison import Gap, Pair, compare
from emulation.options import RunOptions, without_netem
from emulation.orchestrator.session import BROKEN, run_session
from emulation.run import require_machine, require_policy
from experiments.simulated import simulate_to_folder
from model.errors import INTERRUPTED, UserError
from model.worlds import require_simulable
from records.reader import Result, find_results, open_result


@dataclass(frozen=True, slots=True)
class Judged:
    """An emulation and why it is left out ('': it is not)."""

    result: Result
    objection: str


def objection_to(result: Result, *, keep_invalid: bool) -> str:
    """Why an emulation is no good for a comparison; '' if it is."""
    manifest = result.manifest
    if not manifest.get("complete"):
        return "it did not run to its end"
    fidelity = manifest.get("fidelity") or {"valid": False, "verdict": "it was not judged"}
    return "" if fidelity["valid"] or keep_invalid else str(fidelity["verdict"])


def emulations_in(paths: Sequence[Path]) -> list[Result]:
    """All results of the emulation in or below folders. Raises ``UserError`` if there is none."""
    results = [open_result(folder) for path in paths for folder in find_results(path)]
    found = [r for r in results if r.manifest["world"] == "emulation"]
    if not found:
        raise UserError(f"no result of the emulation in {', '.join(map(str, paths))}")
    return found


def emulate_all(
    options: RunOptions,
    policies: Sequence[str],
    seeds: Sequence[int],
    *,
    attempts: int,
    keep_invalid: bool,
) -> Iterator[Result]:
    """Emulate every policy with every seed, one after the other; yields each run as it ends.

    A run with a bad verdict is repeated, up to ``attempts`` in all. Ctrl-C ends the iteration
    after the run that it ended. Raises ``UserError`` if a policy, or this machine, cannot.
    """
    simulated = without_netem(options.scenario) if options.without_netem else options.scenario
    require_simulable(simulated)  # before minutes of emulation
    asked = [require_policy(replace(options, policy=policy)) for policy in policies]
    options = require_machine(options)
    for seed in seeds:
        for mine in asked:
            for _ in range(attempts):
                policy, params = mine.policy, mine.policy_params
                status, result = _emulate(
                    replace(options, policy=policy, policy_params=params, seed=seed)
                )
                yield result
                if status == INTERRUPTED:
                    return
                if not objection_to(result, keep_invalid=keep_invalid):
                    break


def _emulate(options: RunOptions) -> tuple[int, Result]:
    before = set(find_results(options.out)) if options.out.is_dir() else set()
    status = run_session(options)
    made = [f for f in find_results(options.out) if f not in before]
    mine = [r for r in map(open_result, made) if _is_of(r, options)]
    if status == BROKEN or len(mine) != 1:
        raise UserError(f"{options.policy}, seed {options.seed}: the emulation broke, see above")
    return status, mine[0]


def _is_of(result: Result, options: RunOptions) -> bool:
    """Whether a result is of this run, and not of another that wrote to the same folder."""
    manifest = result.manifest
    return bool(
        manifest["world"] == "emulation"
        and (manifest["policy"], manifest["seed"]) == (options.policy, options.seed)
        and manifest["speedup"] == options.speedup
    )


def compare_all(
    emulations: Iterable[Result],
    out: Path,
    *,
    keep_invalid: bool,
    on_pair: Callable[[Pair], None] = lambda _: None,
) -> list[Gap]:
    """Simulate each emulation's run below ``out`` and compare; a gap for each scenario and length.

    Raises ``UserError`` if no emulation is good enough for a comparison.
    """
    pairs: dict[tuple[str, int], list[Pair]] = {}
    left_out: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for emulation in emulations:
        where = emulation.scenario.name, emulation.scenario.slots
        objection = objection_to(emulation, keep_invalid=keep_invalid)
        if objection:
            left_out.setdefault(where, []).append((str(emulation.folder), objection))
            continue
        pair = compare(emulation, simulate_like(emulation, out))
        pairs.setdefault(where, []).append(pair)
        on_pair(pair)
    if not pairs:
        reasons = "; ".join(f"{f}: {why}" for v in left_out.values() for f, why in v)
        raise UserError(f"no emulation to compare with ({reasons or 'none was run'})")
    return [
        Gap(name, slots, tuple(found), tuple(left_out.get((name, slots), ())))
        for (name, slots), found in pairs.items()
    ]


def simulate_like(emulation: Result, out: Path) -> Result:
    """The same scenario, policy, parameters and seed in the simulator; a result below ``out``."""
    manifest = emulation.manifest
    folder = simulate_to_folder(
        emulation.scenario,
        manifest["policy"],
        manifest["policy_params"],
        manifest["seed"],
        out,
        command_line=sys.argv,
    )
    return open_result(folder)
