"""The global state S = {Q, V, F} as critics are given it: its distribution, not its size.

Mean, maximum and spread over the links of a class and the units of a kind, so that a critic works
for any number of devices and links.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.network import UNIT_KINDS
from model.scenario import LINK_CLASSES
from rl.learning.credit import link_waits
from rl.simulator import CACHED
from rl.simulator.batch import Batch
from rl.simulator.primitives import remaining, step_at

STATE_COLUMNS = 3 * len(LINK_CLASSES) + 6 * len(UNIT_KINDS) + 1


@njit(cache=CACHED)
def _units(fixed, moving, now, queue_s, ghz):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Q_u / F_u, s, and F_u, GHz, of all environments, (E, U)."""
    for e in range(ghz.shape[0]):
        for u in range(ghz.shape[1]):
            starts, speeds = fixed.freq_start[e, u], fixed.freq[e, u]
            ghz[e, u] = speeds[step_at(starts, now)]
            queue_s[e, u] = remaining(starts, speeds, now, moving.unit_until[e, u]) / ghz[e, u]


class StateMaker:
    """Makes the critics' input of a batch, (E, STATE_COLUMNS) float32."""

    def __init__(self, batch: Batch):
        self._batch = batch
        classes = [link.link_class for link in batch.network.shaped_links]
        kinds = [unit.kind for unit in batch.network.units]
        self._links = [np.array([c == name for c in classes]) for name in LINK_CLASSES]
        self._units = [np.array([k == name for k in kinds]) for name in UNIT_KINDS]
        envs = len(batch.seeds)
        self.link_wait_s = np.zeros((envs, len(classes)))
        self._queue_s, self._ghz = np.zeros((envs, len(kinds))), np.zeros((envs, len(kinds)))

    def look(self) -> NDArray[np.float32]:
        """The state now; ``link_wait_s`` (E, L) is V_l / c_l as it was just read."""
        batch = self._batch
        link_waits(batch.fixed, batch.moving, batch.now_s, self.link_wait_s)
        _units(batch.fixed, batch.moving, batch.now_s, self._queue_s, self._ghz)
        columns = [_spread(np.log1p(self.link_wait_s), mask) for mask in self._links]
        columns += [_spread(np.log1p(self._queue_s), mask) for mask in self._units]
        columns += [_spread(self._ghz / 10.0, mask) for mask in self._units]
        under_way = np.log1p(batch.moving.incoming.sum(axis=1, keepdims=True) / 100.0)
        return np.concatenate([*columns, under_way], axis=1).astype(np.float32)


def _spread(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean, maximum, standard deviation over the masked columns, (E, 3); 0 where there are none."""
    if not mask.any():
        return np.zeros((len(values), 3))
    chosen = values[:, mask]
    return np.stack([chosen.mean(axis=1), chosen.max(axis=1), chosen.std(axis=1)], axis=1)
