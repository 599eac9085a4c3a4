"""Knowledge distillation, the paper's future work: a small student learns from a trained teacher.

The student plays; on what it meets, its distribution over targets and rates is drawn towards the
teacher's, and its local Q towards the teacher's (Hinton et al. 2015, on the student's own states).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model.scenario import Scenario
from rl.learning.collector import Chunk
from rl.learning.devices import moved
from rl.learning.learner import Learner
from rl.learning.options import DistillOptions, TrainingConfig
from rl.learning.returns import RunningScale
from rl.learning.torch_actor import Actor, ActorShape, Scores, State
from rl.learning.unroll import decisions_in, unroll
from rl.policies import checkpoint as weights
from rl.policies.checkpoint import Checkpoint


def restore(checkpoint: Checkpoint) -> Actor:
    """The actor of a checkpoint, to be trained on or learnt from."""
    a, meta = checkpoint.arrays, checkpoint.meta
    trunk = (len(a["trunk.first.bias"]), len(a["trunk.second.bias"]))
    hidden = a["from_state.weight"].shape[1]
    head, rates = len(a["from_state.bias"]), len(meta.rates_mbps)
    shape = ActorShape(trunk, meta.cell, hidden, head, rates, meta.augmented, meta.prior)
    actor = Actor(shape, meta.rates_mbps)
    actor.load_state_dict({name: torch.from_numpy(value) for name, value in a.items()})
    return actor


class Distiller(Learner):
    """A student and its teacher."""

    options_class = DistillOptions
    options: DistillOptions
    saved = ("actor", "optimiser")

    def __init__(self, actor: Actor, options: DistillOptions, seed: int):
        super().__init__(actor, options, seed)
        teacher = restore(weights.load(options.teacher)).to(actor.device)
        self.teacher = teacher.requires_grad_(requires_grad=False)
        self.charges = RunningScale()
        self.optimiser = torch.optim.Adam(actor.parameters(), lr=options.learning_rate, eps=1e-5)
        # The prior is the teacher's: seven numbers, and what is corrected must be the same.
        with torch.no_grad():
            for name in ("log_temperature", "log_scale", "price", "bias", "cost_scale"):
                getattr(actor, name).copy_(getattr(self.teacher, name))
        self._memory: State | None = None

    @classmethod
    def from_config(
        cls, actor: Actor, config: TrainingConfig, scenario: Scenario, seed: int
    ) -> Distiller:
        """Make a student of the teacher for a scenario."""
        assert isinstance(config.options, DistillOptions)  # noqa: S101 - for the type checker
        teacher = config.options.teacher_for(scenario)
        return cls(actor, config.options.model_copy(update={"teacher": teacher}), seed)

    def update(self, chunk: Chunk, _: int) -> dict[str, float]:
        """Draw the student towards the teacher on a chunk that the student played."""
        if chunk.fresh or self._memory is None:
            self._memory = self.teacher.trunk.start(chunk.agents.shape[1])
        with torch.no_grad():
            out, self._memory = self.teacher.trunk(chunk.agents, self._memory)
            wanted = self.teacher.score(out[chunk.slot, chunk.agent], chunk.question)
            rates = wanted.rate_logits(chunk.target)
        total, steps = 0.0, 0
        for _ in range(self.options.epochs):
            order = torch.randperm(chunk.states.shape[1]).to(self.actor.device)
            for part in order.tensor_split(min(self.options.minibatches, len(order))):
                total, steps = total + self._step(chunk, wanted, rates, part), steps + 1
        return {"distillation_loss": total / steps}

    def _step(self, chunk: Chunk, wanted: Scores, rates: Tensor, part: Tensor) -> float:
        chosen = decisions_in(chunk, part)
        if not len(chosen):
            return 0.0
        scores = unroll(self.actor, chunk, chosen)
        loss = _divergence(wanted.logits[chosen], scores.logits)
        loss = loss + _divergence(rates[chosen], scores.rate_logits(chunk.target[chosen]))
        exists = chunk.question.exists[chosen]
        local = nn.functional.huber_loss(scores.values[exists], wanted.values[chosen][exists])
        loss = loss + self.options.local_q * local
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.actor.parameters(), self.options.gradient_norm)
        self.optimiser.step()
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on; the teacher is a file."""
        return super().state_dict() | {"memory": self._memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        super().load_state_dict(state)
        self._memory = moved(state["memory"], self.actor.device)


def _divergence(wanted: Tensor, got: Tensor) -> Tensor:
    """Mean KL(wanted ‖ got) of logits along the last axis; padded places count nothing."""
    p, q = torch.log_softmax(wanted, dim=-1), torch.log_softmax(got, dim=-1)
    parts = p.exp() * (p - q)
    return torch.where(wanted.isfinite(), parts, 0.0).sum(dim=-1).mean()
