"""Learned policies on a device: the actor of a checkpoint, without torch."""

from __future__ import annotations

from functools import cache
from typing import ClassVar, get_args

import numpy as np

from model.errors import UserError
from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies import checkpoint as weights
from rl.policies.action_selection import Chooser
from rl.policies.base import Policy
from rl.policies.checkpoint import Choice
from rl.policies.features import FeatureMaker
from rl.policies.numpy_actor import Network

LEARNERS: dict[str, tuple[str, str]] = {
    "m2ppo": ("rl.learning.options:PpoOptions", "Mixed multi-agent PPO, the paper's algorithm."),
    "maa3c": ("rl.learning.options:A3cOptions", "Asynchronous advantage actor-critic."),
    "madqn": ("rl.learning.options:DqnOptions", "Deep Q-learning of several agents."),
    "mappo": ("rl.learning.options:PpoOptions", "Multi-agent PPO."),
    "student": ("rl.learning.options:DistillOptions", "A small actor, taught by m2ppo."),
}
"""Algorithm → ``module:Class`` of its options or its learner, and what it is.

A new learner is one line here. Training imports the class (``rl.learning.registry``), a device
never does.
"""


class Learned(Policy):
    """A trained actor.

    Args:
        checkpoint: its file. `./lab` fills in what is shipped for the scenario where none is named.
        choice: how it decides (``rl.policies.checkpoint.Choice``); default: the checkpoint's own
            way.
    """

    algorithm: ClassVar[str] = ""

    def __init__(self, *, checkpoint: str = "", choice: str = ""):
        self.checkpoint, self.choice = checkpoint, choice

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Load the checkpoint and forget everything else."""
        super().reset(profile, rng)
        if not self.checkpoint:
            raise UserError(f"{self.algorithm} needs a checkpoint: --param checkpoint=FILE")
        checkpoint = weights.load(self.checkpoint)
        checkpoint.require_fit(profile.rates_mbps, profile.slot_s)
        meta = checkpoint.meta
        way = self.choice or meta.choice
        if way not in get_args(Choice):
            raise UserError(f"choice={way}: there are {', '.join(get_args(Choice))}")
        self._choose = Chooser(way, profile.rates_mbps)  # type: ignore[arg-type]
        self.network = Network(checkpoint.arrays, meta.cell, prior=meta.prior)
        self.features = FeatureMaker([profile])
        self._memory = self.network.start()
        self._lifted = self.network.lift(self._memory[0])

    def begin_slot(self, observation: Observation) -> None:
        """Advance the recurrent state."""
        row = self.features.agents(0, observation)
        self._memory = self.network.advance(row, self._memory)
        self._lifted = self.network.lift(self._memory[0])

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Score the candidates and choose."""
        candidates = self.features.candidates(0, observation, task.work_ghz_s, task.data_mb)
        scores = self.network.score(self._lifted, candidates, task.data_mb)
        chosen = self._choose(scores, candidates, self.rng)
        return Decision(int(chosen.target), float(chosen.rate_mbps))


@cache
def trained_policy(algorithm: str) -> type[Learned]:
    """Return the policy of one of ``LEARNERS``."""

    class Trained(Learned):
        pass

    Trained.algorithm = algorithm
    Trained.__name__ = Trained.__qualname__ = algorithm.capitalize()
    Trained.__doc__ = LEARNERS[algorithm][1]
    return Trained
