"""Proximal policy optimisation with a shared recurrent actor: the trunk of m2ppo and mappo.

Credit. A decision k of slot t has the charge c_k (``rl.learning.credit``). Its advantage is

    A_k = (b_k − c_k) + (Â_t − r̄_t − b̄_t),

where b_k = Σ_u π(u|o_k) Q(o_k, u) is what the local Q head expected of the policy (0 without
``local_baseline``), r̄_t and −b̄_t are the means of −c and −b over the decisions of the slot, and Â_t
is the generalised advantage of r̄ under the critics' one value per environment. So the critics add
what only the global state tells of the present and the future. Neither term depends on the
action, which leaves the gradient's mean alone and takes most of its variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.scenario import Scenario
from rl.learning.collector import Chunk, log_prob
from rl.learning.critics import Critics
from rl.learning.devices import moved
from rl.learning.learner import Learner
from rl.learning.options import PpoOptions, TrainingConfig
from rl.learning.returns import RunningScale, generalised_advantages, standardised
from rl.learning.torch_actor import Actor, Scores, State
from rl.learning.unroll import backward_in_blocks, decisions_in, unroll_trunk


@dataclass(frozen=True, slots=True)
class Targets:
    """What a chunk's decisions and slots are trained towards; (K,) and (slots, E).

    Attributes:
        advantage: of each decision, normalised.
        settled: whether a decision is learnt from.
        charge: in units of the scale.
        value: return of each slot; ``old_values`` (critics, slots, E) what the critics said.
    """

    advantage: Tensor
    settled: Tensor
    charge: Tensor
    value: Tensor
    old_values: Tensor


LOGGED = ("policy_gain", "entropy", "local_q_loss", "clipped_share", "kl")
"""What is logged of an actor's step, means over the decisions."""

PRIOR = ("log_temperature", "log_scale", "price", "bias")


class Ppo(Learner):
    """An actor, its critics, and how they are improved by a chunk of experience."""

    options_class = PpoOptions
    options: PpoOptions
    saved = ("actor", "critics", "values", "charges", "actor_optimiser", "critic_optimiser")

    def __init__(self, actor: Actor, critics: Critics, options: PpoOptions, seed: int):
        super().__init__(actor, options, seed)
        self.critics = critics
        self.values, self.charges = RunningScale(), RunningScale()
        self._random = np.random.default_rng(seed)
        prior = [p for n, p in actor.named_parameters() if n in PRIOR]
        rest = [p for n, p in actor.named_parameters() if n not in PRIOR]
        self.actor_optimiser = torch.optim.Adam(
            [
                {"params": rest, "lr": options.learning_rate},
                {"params": prior, "lr": options.prior_learning_rate},
            ],
            eps=1e-5,
        )
        rates = np.linspace(1.0, 0.5, len(critics.members)) * options.critic_learning_rate
        self.critic_optimiser = torch.optim.Adam(
            [
                {"params": list(c.parameters()), "lr": float(rate)}
                for c, rate in zip(critics.members, rates, strict=True)
            ],
            eps=1e-5,
        )
        self._critic_states: State | None = None

    @classmethod
    def from_config(cls, actor: Actor, config: TrainingConfig, _: Scenario, seed: int) -> Ppo:
        """Make a learner with fresh critics."""
        assert isinstance(config.options, PpoOptions)  # noqa: S101 - for the type checker
        return cls(actor, Critics.from_config(config).to(actor.device), config.options, seed)

    def update(self, chunk: Chunk, _: int = 0) -> dict[str, float]:
        """Improve both by a chunk; returns what is worth logging."""
        envs = chunk.states.shape[1]
        if chunk.fresh or self._critic_states is None:
            self._critic_states = self.critics.start(envs)
        targets = self._targets(chunk, self._critic_states)
        sums: dict[str, float] = {}
        steps = 0
        for _ in range(self.options.epochs):
            for part in self._parts(envs):
                logged = self._actor_step(chunk, targets, part)
                logged |= self._critic_step(chunk, targets, part)
                for name, value in logged.items():
                    sums[name] = sums.get(name, 0.0) + value
                steps += 1
        with torch.no_grad():
            _, self._critic_states = self.critics(chunk.states[:-1], self._critic_states)
        return {name: value / steps for name, value in sums.items()}

    def _parts(self, envs: int) -> Iterator[Tensor]:
        """The environments, shuffled and divided."""
        order = torch.from_numpy(self._random.permutation(envs)).to(self.actor.device)
        yield from order.tensor_split(min(self.options.minibatches, envs))

    def _targets(self, chunk: Chunk, states: State) -> Targets:
        self.charges.update(chunk.charge)
        scale = self.charges.moments[1]
        self.actor.cost_scale.fill_(scale)
        charge = chunk.charge / scale
        slots, envs = chunk.states.shape[0] - 1, chunk.states.shape[1]
        place = chunk.slot * envs + chunk.env
        counts = torch.bincount(place, minlength=slots * envs)
        with torch.no_grad():
            old, _ = self.critics(chunk.states, states)
        baseline = chunk.expected / scale * float(self.options.local_baseline)

        def slot_mean(x: Tensor) -> Tensor:
            sums = torch.zeros(slots * envs, device=x.device).index_add_(0, place, x)
            return sums / counts.clamp(min=1)

        reward = -slot_mean(charge).view(slots, envs)
        values = self.values.restored(self.critics.combine(old))
        team = generalised_advantages(reward, values, self.options.discount, self.options.trace)
        common = (team - reward).flatten() - slot_mean(baseline)
        advantage = baseline - charge + common[place].float()
        returns = team + values[:-1]
        self.values.update(returns.flatten())
        settled = chunk.slot < slots - self.options.settle
        return Targets(
            advantage=standardised(advantage, settled),
            settled=settled,
            charge=charge,
            value=returns,
            old_values=old[:, :-1],
        )

    def _actor_step(self, chunk: Chunk, targets: Targets, part: Tensor) -> dict[str, float]:
        chosen = decisions_in(chunk, part)
        chosen = chosen[targets.settled[chosen]]
        if not len(chosen):
            return {}
        state = unroll_trunk(self.actor, chunk, chosen)
        sums = torch.zeros(len(LOGGED), dtype=torch.float64, device=state.device)
        self.actor_optimiser.zero_grad(set_to_none=True)

        def loss(scores: Scores, block: Tensor) -> Tensor:
            value, logged = self._loss(scores, chunk, targets, block)
            sums.add_(logged)
            return value / len(chosen)

        backward_in_blocks(self.actor, chunk, state, chosen, loss)
        nn.utils.clip_grad_norm_(self.actor.parameters(), self.options.gradient_norm)
        self.actor_optimiser.step()
        return dict(zip(LOGGED, (sums / len(chosen)).tolist(), strict=True))

    def _loss(
        self, scores: Scores, chunk: Chunk, targets: Targets, block: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss of some decisions and what is worth logging of them (``LOGGED``), as sums."""
        options = self.options
        target, rate = chunk.target[block], chunk.rate[block]
        logs, entropy = log_prob(scores, target, rate)
        ratio = (logs - chunk.log_prob[block]).exp()
        advantage = targets.advantage[block]
        clipped = ratio.clamp(1.0 - options.clip, 1.0 + options.clip)
        gain = torch.minimum(ratio * advantage, clipped * advantage).sum()
        value = scores.values.gather(1, target[:, None])[:, 0]
        local = nn.functional.huber_loss(
            value, targets.charge[block], delta=options.huber, reduction="sum"
        )
        bonus = entropy.sum()
        loss = -gain - options.entropy * bonus + options.local_q * local
        with torch.no_grad():
            outside = ((ratio - 1.0).abs() > options.clip).sum()
            kl = (ratio - 1.0 - ratio.log()).sum()
            logged = torch.stack([gain, bonus, local, outside, kl])
        return loss, logged

    def _critic_step(self, chunk: Chunk, targets: Targets, part: Tensor) -> dict[str, float]:
        """One step of every critic; each has an optimiser state and a rate of its own."""
        options = self.options
        assert self._critic_states is not None  # noqa: S101
        begin = tuple(s[:, part] for s in self._critic_states)
        values, _ = self.critics(chunk.states[:-1, part], begin)
        wanted = self.values.normalised(targets.value[:, part]).float()
        old = targets.old_values[:, :, part]
        near = old + (values - old).clamp(-options.value_clip, options.value_clip)
        huber = nn.functional.huber_loss
        wanted = wanted.expand_as(values)
        losses = torch.maximum(
            huber(values, wanted, delta=options.huber, reduction="none"),
            huber(near, wanted, delta=options.huber, reduction="none"),
        )
        # A sum over critics: the gradient of each is that of its own loss.
        loss = losses.mean(dim=(1, 2)).sum()
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.critics.parameters(), options.gradient_norm)
        self.critic_optimiser.step()
        with torch.no_grad():
            combined = self.critics.combine(values)
            error = (combined - wanted[0]).square().mean()
        return {"critic_loss": float(error)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on."""
        return super().state_dict() | {
            "critic_states": self._critic_states,
            "random": self._random.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        super().load_state_dict(state)
        self._critic_states = moved(state["critic_states"], self.actor.device)
        self._random.bit_generator.state = state["random"]
