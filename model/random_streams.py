"""Independent random streams, named: changing one never shifts another.

A stream is Philox keyed by (seed, SHA-256 of its name), so a trace is the same on every machine,
in both worlds, whatever else is drawn and in whatever order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MAX_SEED = 2**128 - 1
"""The largest seed of a run: as many bits as a judged run draws."""
MAX_SEED_IN_TABLES = 2**63 - 1
"""The largest seed of runs that share a table with others, a sweep's or a contest's: one column."""


def stream(seed: int, *names: str) -> np.random.Generator:
    """The random generator of one purpose, e.g. ``stream(seed, "arrivals", "c1d1")``."""
    import numpy as np

    digest = hashlib.sha256("/".join(names).encode()).digest()
    words = [int.from_bytes(digest[k : k + 4], "little") for k in range(0, 16, 4)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))


def policy_key(seed: int, device: str) -> tuple[int, ...]:
    """The key of the random stream of a device's policy, which does not reveal the seed."""
    state: Any = stream(seed, "policy", device).bit_generator.state
    return tuple(int(k) for k in state["state"]["key"])


def generator(key: tuple[int, ...]) -> np.random.Generator:
    """The random stream with that key, as ``stream`` begins it."""
    import numpy as np

    # Seeded by the key too, for whoever spawns further streams from it.
    bits = np.random.Philox(np.random.SeedSequence(list(key)))
    state: Any = bits.state
    state["state"]["key"] = np.array(key, dtype=np.uint64)
    bits.state = state
    return np.random.Generator(bits)
