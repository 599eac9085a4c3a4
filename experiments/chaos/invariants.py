"""What must be true of a run's records, whatever was done to it."""

from __future__ import annotations

from collections import Counter

from metrics.fidelity import judge
from model.errors import UserError
from model.network import build_network
from model.workload import generate_trace
from records.reader import Result
from records.schema import OUTCOMES, TABLES


def records_wrong(result: Result) -> list[str]:
    """What is wrong with a result: every table can be read, every task stands in one state.

    A run that ended, in whatever way, after its slots had begun has all tasks of the trace. One
    that was killed, or could not write, has those that had been written, none twice.
    """
    try:
        for name in TABLES:
            result.table(name)
    except UserError as error:
        return [str(error)]
    manifest = result.manifest
    if result.finished and "ran_s" in manifest and "write_error" not in manifest:
        states = next(c for c in judge(result).checks if c.name == "task states")
        return [] if states.ok else [states.text]
    return _partial_states(result)


def _partial_states(result: Result) -> list[str]:
    tasks = result.table("tasks", ["task", "outcome"])
    generated = len(
        generate_trace(result.scenario, result.manifest["seed"], build_network(result.scenario))
    )
    numbers = Counter(tasks["task"].to_pylist())
    wrong = [f"task {k} stands {n} times" for k, n in numbers.items() if n > 1]
    wrong += [f"task {k} was never generated" for k in numbers if not 0 <= k < generated]
    unknown = set(tasks["outcome"].to_pylist()) - set(OUTCOMES)
    return wrong + [f"outcome {word}" for word in sorted(unknown)]
