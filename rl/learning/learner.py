"""The base class of learners: what a training asks of an algorithm.

It covers networks, updates and the state of a training. Options and their ranges are in
``rl.learning.options``, names in ``rl.learning.registry``, the rollouts that a learner gets in
``rl.learning.collector``, and the loop around it in ``rl.learning.training``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from torch.optim import Optimizer

from model.scenario import Scenario
from rl.learning.collector import Chunk
from rl.learning.options import Options, TrainingConfig
from rl.learning.torch_actor import Actor
from rl.policies.action_selection import Choose


class Learner(ABC):
    """An actor and how rollouts improve it.

    A subclass names its options, makes optimisers in ``__init__`` and writes ``update``. The rest
    has defaults that fit an on-policy learner with one actor.

    Attributes:
        options_class: class of its options; ``./lab train --options`` lists them.
        saved: attributes with ``state_dict`` and ``load_state_dict``, which a training keeps.
        actor: the policy that is trained, evaluated and exported.
        options: values of its options.

    Args:
        actor: with fresh parameters, on the device to learn on.
        options: of ``options_class``.
        seed: of the training; torch's generator is seeded with it already.
    """

    options_class: ClassVar[type[Options]] = Options
    saved: ClassVar[tuple[str, ...]] = ("actor",)

    def __init__(self, actor: Actor, options: Options, seed: int):
        self.actor, self.options = actor, options

    @classmethod
    def from_config(
        cls,
        actor: Actor,
        config: TrainingConfig,
        scenario: Scenario,
        seed: int,
    ) -> Self:
        """Make a learner; override it for more networks than the actor, such as critics."""
        return cls(actor, config.options, seed)

    @abstractmethod
    def update(self, chunk: Chunk, worker: int) -> dict[str, float]:
        """Improve the actor by a rollout of ``worker``.

        Returns what is logged, by name. ``chunk`` is on the actor's device.
        """

    @property
    def rollout_workers(self) -> int:
        """Workers that collect rollouts in turn, each in environments of its own."""
        return 1

    def behaviour_actor(self, worker: int) -> Actor:
        """Return the actor that collects the next rollout of a worker."""
        return self.actor

    def behaviour_choice(self) -> Choose | None:
        """Return how rollouts choose actions; None: they are drawn from the actor's policy."""
        return None

    def anneal(self, share: float) -> None:
        """Set the learning rates of the saved optimisers to ``share`` of the initial ones."""
        for name in self.saved:
            found = getattr(self, name)
            if isinstance(found, Optimizer):
                for group in found.param_groups:
                    group["lr"] = share * group.setdefault("initial_lr", group["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on: tensors, arrays and plain data."""
        return {name: getattr(self, name).state_dict() for name in self.saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name in self.saved:
            getattr(self, name).load_state_dict(state[name])
