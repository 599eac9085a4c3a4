"""What is shown of an observation is the same from both worlds."""

from __future__ import annotations

import numpy as np

from emulation.node.observations import Memory
from rl.environment.encoding import COLUMNS, NEVER, OLDEST_S, table, unseen
from rl.environment.simulated import crowd_edge_v0
from rl.simulator import observe
from tests.rl.worlds import small


def test_columns_are_those_of_the_simulator() -> None:
    assert len(COLUMNS) == observe.VIEW_ROWS
    assert COLUMNS.index("rtt_age_s") == observe.RTT_AGE
    assert COLUMNS.index("processing_s") == observe.PROCESSING
    assert COLUMNS.index("results") == observe.RESULTS


def test_a_device_that_knows_nothing_looks_like_a_simulated_one() -> None:
    env = crowd_edge_v0(small())
    seen, _ = env.reset(seed=1)
    profile = env.batch.layout.profiles[0]
    memory = Memory(profile.targets)
    simulated = seen[profile.name]["targets"]
    # Idle round trips are measured in one world and computed in the other.
    for target, rtt_s in enumerate(simulated[:, observe.IDLE]):
        memory.idle(target, float(rtt_s))
    np.testing.assert_array_equal(table(memory.observe(0.0, 0.0, 1.0)), simulated)


def test_the_unseen_has_numbers() -> None:
    nothing = unseen(2)
    assert nothing.shape == (2, len(COLUMNS))
    assert np.isfinite(nothing).all()
    assert nothing[0, COLUMNS.index("rtt_s")] == NEVER
    assert nothing[1, COLUMNS.index("delivery_age_s")] == OLDEST_S
    assert nothing[0, COLUMNS.index("results")] == 0.0
