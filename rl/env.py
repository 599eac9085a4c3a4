"""The simulated environments: the name that users' scripts import from, like ``emulation.env``.

They live in ``rl.environment``, which also has the contract of both worlds.
"""

from rl.environment.simulated import CrowdEdge, crowd_edge_v0

__all__ = ["CrowdEdge", "crowd_edge_v0"]
