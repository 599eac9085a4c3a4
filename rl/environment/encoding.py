"""What an agent is shown, as finite numbers: the same from a simulator and from a real device.

NumPy alone: a device's process uses this as well.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from model.observation import Observation

NEVER = -1.0
"""Stands for what was never observed (NaN in ``model.observation``); ages then are ``OLDEST_S``."""
OLDEST_S = 1e3

_NAMES = tuple(field.name for field in fields(Observation))
COLUMNS = _NAMES[_NAMES.index("inflight_tasks") : _NAMES.index("results") + 1]
"""Columns of what is shown of each target: fields of ``Observation``, in its order."""


def shown(views: NDArray[np.float64]) -> NDArray[np.float32]:
    """Raw views of any shape as float32, with numbers for what was never observed."""
    finite = views.astype(np.float32)
    finite[np.isnan(finite)] = NEVER
    finite[np.isposinf(finite)] = OLDEST_S
    return finite


def table(observation: Observation) -> NDArray[np.float32]:
    """What is shown of the targets of one device, (targets, columns)."""
    return shown(np.stack([getattr(observation, name) for name in COLUMNS], axis=1))


def unseen(targets: int) -> NDArray[np.float32]:
    """What is shown of targets of which nothing is known, (targets, columns)."""
    counts = ("inflight_tasks", "inflight_work_ghz_s", "inflight_data_mb", "results")
    row = [
        0.0 if name in counts else OLDEST_S if name.endswith("_age_s") else NEVER
        for name in COLUMNS
    ]
    return np.tile(np.array(row, dtype=np.float32), (targets, 1))
