"""Plays random worlds with every index of compiled code checked: ``bounds_checked.py FIRST COUNT``.

A process of its own, since numba decides when it is imported: ``NUMBA_BOUNDSCHECK=1``, and a cache
folder that holds no functions without checks. ``tests/rl/test_random_worlds.py`` starts it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from model.scenario import Scenario
from rl.environment.simulated import CrowdEdge
from rl.learning import credit, critic_input
from rl.policies import create
from rl.simulator import decision_loop, kernel, observe, primitives
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch
from rl.simulator.run import simulate
from tests.rl.agreement import OVERHEAD, agree
from tests.rl.random_worlds import World, random_world

MODULES: tuple[ModuleType, ...] = (kernel, primitives, observe, decision_loop, credit, critic_input)


def play(world: World, number: int) -> None:
    """Play a world in every way there is, and compare with the reference where it is comparable."""
    scenario = world.scenario
    batch = agree(scenario, (number, number + 1), world.piece_mb, world.tolerance)
    _turn_by_turn(batch, world.piece_mb)
    _as_an_environment(scenario, number)
    _price(batch)
    for policy in ("greedy", "random"):
        simulate(scenario, lambda: create(policy), number, slots=min(scenario.slots, 20))  # noqa: B023


def _turn_by_turn(played: Batch, piece_mb: float) -> None:
    """Decisions that come one by one make the same of every task."""
    batch = Batch(played.scenario, played.seeds, piece_mb=piece_mb, wire_overhead=OVERHEAD)
    game = decision_loop.Turns(batch)
    while not game.over:
        while (turn := game.next()) is not None:
            where = turn.env, turn.task
            game.decide(turn, played.targets[where].astype(np.int64), played.rates[where])
    np.testing.assert_array_equal(batch.moving.task, played.moving.task)


def _as_an_environment(scenario: Scenario, seed: int) -> None:
    env = CrowdEdge(scenario)
    env.reset(seed=seed)
    for _ in range(min(scenario.slots, 5)):
        env.step({agent: env.action_space(agent).sample() * 0 for agent in env.agents})
        env.state()


def _price(batch: Batch) -> None:
    """What learning reads of a batch: the critics' state, and what decisions are charged with."""
    critic_input.StateMaker(batch).look()
    env, task = np.nonzero(np.isfinite(batch.moving.task[:, :, ix.DISPATCHED]))
    slots = min(batch.scenario.slots, 10)
    wait = np.zeros((slots, *batch.moving.link_until.shape))
    for row in wait:
        credit.link_waits(batch.fixed, batch.moving, batch.now_s, row)
    target = batch.targets[env, task].astype(np.int64)
    recent = batch.moving.task[env, task, ix.BORN] >= (batch.slot - slots) * batch.scenario.slot_s
    decided = env[recent], task[recent]
    crossings = credit.crossings_of(batch, slots, *decided, target[recent])
    history = credit.LinkHistory(wait, crossings)
    assert np.isfinite(credit.link_externality_s(batch, history, *decided)).all()
    credit.unit_externality_s(batch, env, task)
    credit.delays_s(batch, env, task)


def kernels() -> dict[str, Any]:
    """All compiled functions that Python calls, by name; the inlined ones are parts of them."""
    return {
        f"{module.__name__}.{name}": function
        for module in MODULES
        for name, function in vars(module).items()
        if isinstance(function, Dispatcher)
        and function.py_func.__module__ == module.__name__
        and not function.targetoptions.get("forceinline")
    }


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(first: int, count: int) -> None:
    """Play the worlds; fail if numba checks no bounds, or if a kernel has not run."""
    assert getattr(numba.config, "BOUNDSCHECK", 0) == 1, "set NUMBA_BOUNDSCHECK=1"
    batch = Batch(random_world(0).scenario, [0])
    try:
        kernel.advance(batch.fixed, batch.moving, 10**6, 1.0)
    except IndexError:
        _say("an index out of bounds is noticed")
    else:
        raise SystemExit("an index out of bounds was not noticed")
    for number in range(first, first + count):
        try:
            play(random_world(number), number)
        except Exception:
            _say(f"world {number} failed")
            raise
    idle = [name for name, function in kernels().items() if not function.signatures]
    assert not idle, f"not run: {idle}"
    _say(f"{count} worlds and {len(kernels())} kernels: no index out of bounds, no difference")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
