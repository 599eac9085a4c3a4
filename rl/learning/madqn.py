"""MADQN: deep Q-learning with a recurrent network and replay, every agent for itself.

The local Q of the actor's head is the Q-network: what a decision costs from here on, so the least
is best. The next decision of the same agent, d slots later, is bootstrapped with γ^d by a target
network (the whole of it, recurrent layer included). Exploration is ε-greedy.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rl.learning.collector import Chunk
from rl.learning.learner import Learner
from rl.learning.options import DqnOptions
from rl.learning.returns import RunningScale
from rl.learning.torch_actor import Actor, Scores
from rl.learning.unroll import backward_in_blocks, scored_in_blocks, unroll_trunk
from rl.policies import numpy_actor
from rl.policies.action_selection import Choose, Chosen
from rl.policies.features import Candidates


class Dqn(Learner):
    """A Q-network, its target network, and the replay memory."""

    options_class = DqnOptions
    options: DqnOptions
    saved = ("actor", "target", "charges", "optimiser")

    def __init__(self, actor: Actor, options: DqnOptions, seed: int):
        super().__init__(actor, options, seed)
        self.target = copy.deepcopy(actor)
        self.charges = RunningScale()
        self.optimiser = torch.optim.Adam(actor.parameters(), lr=options.learning_rate, eps=1e-5)
        self._memory: deque[Chunk] = deque(maxlen=options.memory)
        self._random = np.random.default_rng(seed)
        self._steps = self._slots = 0

    @property
    def epsilon(self) -> float:
        """Share of decisions that are drawn at random."""
        o = self.options
        left = max(0.0, 1.0 - self._slots / o.epsilon_slots)
        return o.epsilon_end + (o.epsilon_start - o.epsilon_end) * left

    def choose(
        self, scores: numpy_actor.Scores, candidates: Candidates, rng: np.random.Generator
    ) -> Chosen:
        """ε-greedy over the targets; always at full rate."""
        exists, rates = candidates.exists, self.actor.rates_mbps
        best = np.where(exists, scores.values, np.inf).argmin(axis=-1)
        anywhere = np.where(exists, rng.random(exists.shape), -1.0).argmax(axis=-1)
        target = np.where(rng.random(len(best)) < self.epsilon, anywhere, best)
        rate = np.full_like(target, len(rates) - 1)
        return Chosen(target, rate, np.full(len(rate), rates[-1]), scores.rate_logits(target))

    def behaviour_choice(self) -> Choose:
        """Return the ε-greedy choice."""
        return self.choose

    def update(self, chunk: Chunk, _: int) -> dict[str, float]:
        """Remember a chunk, and learn from remembered ones."""
        self.charges.update(chunk.charge)
        self._slots += chunk.env_slots
        self._memory.append(chunk)
        losses = [
            self._step(self._memory[int(self._random.integers(len(self._memory)))])
            for _ in range(self.options.updates)
        ]
        return {"q_loss": float(np.mean(losses)), "epsilon": self.epsilon}

    def _step(self, chunk: Chunk) -> float:
        everything = torch.arange(len(chunk.slot), device=chunk.slot.device)
        with torch.no_grad():
            state = unroll_trunk(self.target, chunk, everything)
        later = scored_in_blocks(self.target, chunk, state, everything, _least)
        successor = next_decisions(chunk)
        known = torch.nonzero(successor >= 0).squeeze(1)
        if not len(known):
            return 0.0
        gap = chunk.slot[successor] - chunk.slot
        charge = chunk.charge / self.charges.moments[1]
        wanted = charge + self.options.discount ** gap.clamp(min=1) * later[successor]
        total = torch.zeros((), device=chunk.charge.device)

        def loss(scores: Scores, block: Tensor) -> Tensor:
            values = scores.values.gather(1, chunk.target[block][:, None])[:, 0]
            part = nn.functional.huber_loss(values, wanted[block], reduction="sum") / len(known)
            total.add_(part.detach())
            return part

        self.optimiser.zero_grad(set_to_none=True)
        state = unroll_trunk(self.actor, chunk, known)
        backward_in_blocks(self.actor, chunk, state, known, loss)
        nn.utils.clip_grad_norm_(self.actor.parameters(), self.options.gradient_norm)
        self.optimiser.step()
        self._steps += 1
        if self._steps % self.options.target_every == 0:
            self.target.load_state_dict(self.actor.state_dict())
        return float(total)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, the replay memory included."""
        return super().state_dict() | {
            "memory": list(self._memory),
            "random": self._random.bit_generator.state,
            "counts": (self._steps, self._slots),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        super().load_state_dict(state)
        self._memory = deque(
            (chunk.to(self.actor.device) for chunk in state["memory"]), maxlen=self.options.memory
        )
        self._random.bit_generator.state = state["random"]
        self._steps, self._slots = state["counts"]


def _least(scores: Scores) -> Tensor:
    """min_u Q(o, u); padded targets have no finite logit."""
    return scores.values.masked_fill(~scores.logits.isfinite(), torch.inf).amin(dim=-1)


def next_decisions(chunk: Chunk) -> Tensor:
    """Index of the same agent's next decision in the chunk, (K,); -1 where there is none.

    The decisions of a chunk are in order of slots, and those of a slot in order of birth.
    """
    order = torch.argsort(chunk.agent, stable=True)
    result = torch.full_like(order, -1)
    same = chunk.agent[order[1:]] == chunk.agent[order[:-1]]
    result[order[:-1][same]] = order[1:][same]
    return result
