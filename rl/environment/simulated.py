"""The simulator as a PettingZoo environment: ``crowd_edge_v0``, one agent per device.

``rl.environment.base`` is its contract; ``emulation.env`` is the same over a real network.
(Policies of ``rl.policies`` are asked task by task instead: ``rl.simulator.run``.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from model.aliases import FloatArray, IntArray
from model.scenario import Scenario
from model.workload import TaskTrace
from rl.environment.base import Decided, DeviceAgents
from rl.environment.encoding import shown
from rl.environment.interface import EnvOptions, Obs
from rl.simulator import observe
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch

__all__ = ["CrowdEdge", "Obs", "crowd_edge_v0"]


def crowd_edge_v0(scenario: Scenario | str | Path, **options: Unpack[EnvOptions]) -> CrowdEdge:
    """The environment of a scenario, or of the one of that name or path.

    Options and errors as of ``rl.environment.base.DeviceAgents``.
    """
    return CrowdEdge(scenario, **options)


class CrowdEdge(DeviceAgents):
    """The simulator behind the contract.

    Attributes:
        batch: the simulator, one environment of it.
    """

    def _begin(self, seed: int) -> TaskTrace:
        self.batch = Batch(self.scenario, [seed], layout=self._layout)
        return self.batch.traces[0]

    def _pass(self, decided: Decided) -> None:
        self.batch.targets[0, decided.tasks] = decided.targets
        self.batch.rates[0, decided.tasks] = decided.rates_mbps
        self.batch.step()

    def _views(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = self.batch
        devices, size = batch.layout.target_unit.shape
        own, view = np.empty((1, devices, 2)), np.empty((1, devices, observe.VIEW_ROWS, size))
        observe.look_all(batch.fixed, batch.moving, batch.now_s, own, view)
        return own[0].astype(np.float32), shown(view[0].swapaxes(1, 2))

    def _outcomes(self, tasks: IntArray) -> tuple[IntArray, FloatArray]:
        return self.batch.targets[0, tasks], self.batch.moving.task[0, tasks, ix.KNOWN]

    def _state_now(self) -> NDArray[np.float32]:
        batch, network = self.batch, self._layout.network
        links, units = np.empty((len(network.shaped_links), 2)), np.empty((len(network.units), 2))
        observe.state(batch.fixed, batch.moving, 0, batch.now_s, links, units)
        parts = (links[:, 0], links[:, 1], units[:, 0], units[:, 1])
        return np.concatenate(parts).astype(np.float32)
