"""A user's own policy in the simulator: in processes behind walls, asked from the simulation's.

The simulation runs here; ``emulation.sandbox.launcher`` starts the processes. Nothing of a user's
is imported here, whether root simulates or not.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from emulation.sandbox.launcher_client import Print, guests, launcher
from emulation.sandbox.policy_description import facts_of, require_parameters
from emulation.sandbox.policy_files import is_users, policy_file, user_folder, with_absolute_files
from experiments.guest_agents import GuestAgents
from model.scenario import Scenario
from records.streams import say
from rl import policies
from rl.policies.learned import Learned
from rl.simulator.batch import Batch
from rl.simulator.layout import Layout
from rl.simulator.run import play

MOST_PROCESSES = 200
"""Of a simulation: with more devices than that, several share a process."""


@dataclass(frozen=True, slots=True)
class Description:
    """What must be known of a policy before it runs: ``needs``, its parameters' names, its kind."""

    needs: str
    parameters: tuple[str, ...]
    learned: bool


def policy_source(policy: str) -> Path | None:
    """The file of a user's own policy, found without running any of it; None if there is none."""
    module = policy.partition(":")[0]
    loaded = getattr(sys.modules.get(module), "__file__", None)
    found = Path(loaded) if loaded else policy_file(policy, user_folder())
    return found.resolve() if found else None


def described(policy: str) -> Description:
    """The facts of a policy. Raises ``UserError`` if there is no such policy."""
    if is_users(policy):
        facts = facts_of(policy)
        return Description(facts.needs, facts.parameters, bool(facts.algorithm))
    kind = policies.policy_class(policy)
    return Description(str(kind.needs), tuple(policies.parameters(kind)), issubclass(kind, Learned))


def completed(
    policy: str, params: Mapping[str, policies.Value], scenario: Scenario
) -> dict[str, policies.Value]:
    """The parameters as ``rl.policies.completed``, and checked for a policy of one's own.

    Raises ``UserError`` if the policy or a parameter does not exist.
    """
    if not is_users(policy):
        return policies.completed(policy, params, scenario)
    found = policies.canonical(policy, params)
    if algorithm := facts_of(policy).algorithm:
        found = policies.with_checkpoint(policy, algorithm, found, scenario)
    require_parameters(policy, found)
    return found


def missing_walls(policy: str) -> dict[str, str]:
    """Which walls around a user's policy this machine, or this user, lacks, and why."""
    return dict(launcher().walls) if is_users(policy) else {}


def _show(line: str) -> None:
    say(line, err=True)


@contextmanager
def _one_core() -> Iterator[int]:
    """Keep this thread on one core of the processor, and yield its number.

    A simulation and the policies that it asks never run at the same time. To wake a process on
    another core takes longer than to change to it on this one.
    """
    allowed = os.sched_getaffinity(0)
    worker = multiprocessing.current_process().name.rpartition("-")[2]
    number = int(worker) if worker.isdecimal() else os.getpid()
    core = sorted(allowed)[number % len(allowed)]
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)


def simulated_by_guests(
    scenario: Scenario,
    policy: str,
    params: Mapping[str, policies.Value],
    seed: int,
    *,
    layout: Layout | None = None,
    on_slot: Callable[[int], None] | None = None,
    on_print: Print | None = None,
) -> dict[str, pa.Table]:
    """Simulate a user's policy, one process a device; the tables of ``records.schema``.

    Raises ``PolicyError`` for what the policy does, and ``UserError`` for a process that ends.
    """
    files = with_absolute_files(policy, params)
    layout = layout or Layout.of(scenario)
    count = min(len(layout.profiles), MOST_PROCESSES)
    with _one_core() as core, guests(policy, files, count, on_print or _show, core) as made:
        batch = Batch(scenario, [seed], layout=layout)
        return play(batch, GuestAgents(batch, made, files, seed), on_slot=on_slot).tables
