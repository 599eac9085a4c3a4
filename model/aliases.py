"""Type aliases that many modules share.

Arrays are named by what they hold; the docstrings of their users give shapes and units.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

Value = bool | int | float | str
"""A parameter of a policy, or another plain value of a command line, a file or a manifest."""

OpenFlowLibrary = Literal["ryu", "os-ken"]
"""What the controller speaks OpenFlow with; it is started, not imported, by what chooses it."""
