"""MAA3C: asynchronous advantage actor-critic (Mnih et al. 2016) for several agents.

Workers play environments of their own with a copy of the networks, and apply the gradients of what
they played to the shared ones. They take turns in one process: each worker's copy is as old as the
others' updates since its last turn, which is the asynchrony of the algorithm, in a fixed order, so
that a run can be repeated and resumed bit for bit.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from model.scenario import Scenario
from rl.learning.collector import Chunk, log_prob
from rl.learning.critics import Critics
from rl.learning.devices import moved
from rl.learning.learner import Learner
from rl.learning.options import A3cOptions, TrainingConfig
from rl.learning.returns import RunningScale, generalised_advantages, standardised
from rl.learning.torch_actor import Actor, State
from rl.learning.unroll import unroll


class Worker:
    """A copy of the networks, and the critic's state in the worker's environments."""

    def __init__(self, actor: Actor, critics: Critics):
        self.actor, self.critics = copy.deepcopy(actor), copy.deepcopy(critics)
        self.memory: State | None = None


class A3c(Learner):
    """Shared networks and the workers that improve them."""

    options_class = A3cOptions
    options: A3cOptions
    saved = ("actor", "critics", "values", "charges", "optimiser")

    def __init__(self, actor: Actor, critics: Critics, options: A3cOptions, seed: int):
        super().__init__(actor, options, seed)
        self.critics = critics
        self.workers = [Worker(actor, critics) for _ in range(options.workers)]
        self.values, self.charges = RunningScale(), RunningScale()
        self.optimiser = torch.optim.RMSprop(
            [*actor.parameters(), *critics.parameters()],
            lr=options.learning_rate,
            alpha=0.99,
            eps=1e-5,
        )

    @classmethod
    def from_config(cls, actor: Actor, config: TrainingConfig, _: Scenario, seed: int) -> A3c:
        """Make a learner with fresh critics."""
        assert isinstance(config.options, A3cOptions)  # noqa: S101 - for the type checker
        return cls(actor, Critics.from_config(config).to(actor.device), config.options, seed)

    @property
    def rollout_workers(self) -> int:
        """Workers that take turns."""
        return len(self.workers)

    def behaviour_actor(self, worker: int) -> Actor:
        """Return the worker's copy of the actor."""
        return self.workers[worker].actor

    def update(self, chunk: Chunk, turn: int) -> dict[str, float]:
        """A worker's gradients on its copy, applied to the shared networks; then a new copy."""
        worker, options = self.workers[turn], self.options
        slots, envs = chunk.states.shape[0] - 1, chunk.states.shape[1]
        if chunk.fresh or worker.memory is None:
            worker.memory = worker.critics.start(envs)
        self.charges.update(chunk.charge)
        charge = chunk.charge / self.charges.moments[1]
        place = chunk.slot * envs + chunk.env
        counts = torch.bincount(place, minlength=slots * envs)
        sums = torch.zeros(slots * envs, device=charge.device).index_add_(0, place, -charge)
        reward = (sums / counts.clamp(min=1)).view(slots, envs)
        values, _ = worker.critics(chunk.states, worker.memory)
        combined = worker.critics.combine(values)
        with torch.no_grad():
            old = self.values.restored(combined)
            team = generalised_advantages(reward, old, options.discount, options.trace)
            returns = team + old[:-1]
            advantage = (team - reward).flatten()[place].float() - charge
            advantage = standardised(advantage, torch.ones_like(place, dtype=torch.bool))
        self.values.update(returns.flatten())
        everything = torch.arange(len(chunk.slot), device=chunk.slot.device)
        scores = unroll(worker.actor, chunk, everything)
        logs, entropy = log_prob(scores, chunk.target, chunk.rate)
        count = max(1, len(everything))
        gain, entropy = (logs * advantage).sum() / count, entropy.sum() / count
        wanted = self.values.normalised(returns).float()
        error = (combined[:-1] - wanted).square().mean()
        loss = -gain - options.entropy * entropy + options.value * error
        self._apply(loss, worker)
        with torch.no_grad():
            _, worker.memory = worker.critics(chunk.states[:-1], worker.memory)
        return {
            "policy_gain": float(gain.detach()), "entropy": float(entropy.detach()),
            "critic_loss": float(error.detach()),
        }  # fmt: skip

    def _apply(self, loss: torch.Tensor, worker: Worker) -> None:
        theirs = [*worker.actor.parameters(), *worker.critics.parameters()]
        ours = [*self.actor.parameters(), *self.critics.parameters()]
        gradients = torch.autograd.grad(loss, theirs, allow_unused=True)
        for parameter, gradient in zip(ours, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(ours, self.options.gradient_norm)
        self.optimiser.step()
        worker.actor.load_state_dict(self.actor.state_dict())
        worker.critics.load_state_dict(self.critics.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on."""
        return super().state_dict() | {
            "workers": [
                (w.actor.state_dict(), w.critics.state_dict(), w.memory) for w in self.workers
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        super().load_state_dict(state)
        for worker, (actor, critics, memory) in zip(self.workers, state["workers"], strict=True):
            worker.actor.load_state_dict(actor)
            worker.critics.load_state_dict(critics)
            worker.memory = moved(memory, self.actor.device)
