"""The networks: a recurrent actor shared by all agents, and critics of the global state.

The actor's trunk advances once per slot and agent; its head scores the candidate targets of a task
with weights that all candidates share, so that their number may differ between scenarios.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rl.policies.checkpoint import Arrays, Cell
from rl.policies.features import AGENT_COLUMNS, AUGMENTED, CANDIDATE_COLUMNS, GROUPS
from rl.policies.numpy_actor import MOST_COST_S, Network

State = tuple[Tensor, ...]
"""Hidden state of a recurrent layer: (h,) of a GRU, (h, c) of an LSTM; (1, rows, width) each, or
(critics, rows, width)."""


class ActorShape(NamedTuple):
    """Sizes of an actor.

    Attributes:
        trunk: widths of the two linear layers.
        cell: the recurrent layer.
        hidden: its width.
        head: width of the head's hidden layer.
        rates: how many rates there are to choose from.
        augmented: whether the head sees the columns of the D_i(t)-augmentation.
        prior: whether the closed form's cost is a prior that the head corrects.
    """

    trunk: tuple[int, int] = (64, 64)
    cell: Cell = "gru"
    hidden: int = 64
    head: int = 32
    rates: int = 4
    augmented: bool = True
    prior: bool = True


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """Orthogonal weights and no bias, as the reference MAPPO starts."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def recurrent(cell: Cell, inputs: int, hidden: int) -> nn.GRU | nn.LSTM:
    """A recurrent layer with orthogonal weights and no bias, but for an LSTM's gate of forgetting.

    It begins open (bias 1, Jozefowicz et al. 2015): half closed, it halves a memory every slot.
    """
    layer = (nn.GRU if cell == "gru" else nn.LSTM)(inputs, hidden)
    for name, parameter in layer.named_parameters():
        (nn.init.orthogonal_ if "weight" in name else nn.init.zeros_)(parameter)
    if cell == "lstm":
        with torch.no_grad():
            dict(layer.named_parameters())["bias_ih_l0"][hidden : 2 * hidden] = 1.0
    return layer


class Trunk(nn.Module):
    """Linear – ReLU – Linear – ReLU – recurrent, over sequences (slots, rows, inputs)."""

    def __init__(self, inputs: int, widths: tuple[int, int], cell: Cell, hidden: int):
        super().__init__()
        gain = nn.init.calculate_gain("relu")
        self.norm = nn.LayerNorm(inputs)
        self.first = orthogonal(nn.Linear(inputs, widths[0]), gain)
        self.second = orthogonal(nn.Linear(widths[0], widths[1]), gain)
        self.memory = recurrent(cell, widths[1], hidden)
        self.cell: Cell = cell
        self.hidden = hidden

    def start(self, rows: int) -> State:
        """The state before the first slot: zeros."""
        zeros = torch.zeros(1, rows, self.hidden, device=self.first.weight.device)
        return (zeros,) if self.cell == "gru" else (zeros, zeros.clone())

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (slots, rows, hidden) and the state after the last slot."""
        x = torch.relu(self.second(torch.relu(self.first(self.norm(x)))))
        if self.cell == "gru":
            out, last = self.memory(x, state[0])
            return out, (last,)
        out, last = self.memory(x, state)
        return out, last


class Scores(NamedTuple):
    """What the head says of K decisions.

    Attributes:
        logits: of the targets, (K, targets); -inf where padded.
        values: the local Q: what the decision will be charged with, in units of the cost's scale,
            (K, targets).
        rate_logits: from a target of each decision, (K,), to logits of the rates given it,
            (K, rates). Those of targets that nobody takes are never computed.
    """

    logits: Tensor
    values: Tensor
    rate_logits: Callable[[Tensor], Tensor]


class Question(NamedTuple):
    """K decisions as tensors.

    Attributes:
        features: (K, targets, columns).
        exists: which targets there are, (K, targets).
        cost: f'_u at x̂_u, s, (K, targets).
        delay: D̂_u, s, (K, targets).
        toll: D̂_u x̂_u, the part of f'_u that is the links' price, s, (K, targets).
        data: o, MB, (K,).
    """

    features: Tensor
    exists: Tensor
    cost: Tensor
    delay: Tensor
    toll: Tensor
    data: Tensor


class Actor(nn.Module):
    """Policy and local Q of an agent; parameters are shared by all agents."""

    cost_scale: Tensor
    rates_mb_s: Tensor

    def __init__(self, shape: ActorShape, rates_mbps: Sequence[float]):
        super().__init__()
        self.shape, self.rates_mbps = shape, tuple(rates_mbps)
        self.trunk = Trunk(len(AGENT_COLUMNS), shape.trunk, shape.cell, shape.hidden)
        columns = len(CANDIDATE_COLUMNS) if shape.augmented else AUGMENTED
        gain = nn.init.calculate_gain("relu")
        self.from_state = orthogonal(nn.Linear(shape.hidden, shape.head), gain)
        self.from_candidate = orthogonal(nn.Linear(columns, shape.head), gain)
        self.out = orthogonal(nn.Linear(shape.head, 2 + shape.rates), 0.01)
        if not shape.prior:
            # Without a prior rates begin near the full one; untrained ones would only lose time.
            with torch.no_grad():
                self.out.bias[-1] = 3.0
        # The prior: a soft minimum of the closed form's cost, with a price of its own for each kind
        # of target. It begins near the untuned rule `self-biased` and is trained with the rest.
        self.log_temperature = nn.Parameter(torch.tensor(0.1).log())
        self.log_scale = nn.Parameter(torch.tensor(1.25).log())
        self.price = nn.Parameter(torch.tensor(0.5))
        self.bias = nn.Parameter(torch.tensor([0.0, 2.0, 0.25, 0.25, 0.25]))
        self.register_buffer("cost_scale", torch.tensor(1.0))
        self.register_buffer("rates_mb_s", torch.tensor(rates_mbps) / 8.0)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.cost_scale.device

    def on_processor(self) -> Actor:
        """This actor, or a copy where it is on a GPU: playing is on the processor."""
        return self if self.device.type == "cpu" else copy.deepcopy(self).cpu()

    def arrays(self) -> Arrays:
        """The parameters as they are now, as checkpoints hold them."""
        return {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}

    def network(self) -> Network:
        """The same network without gradients, to decide with."""
        return Network(self.arrays(), self.shape.cell, prior=self.shape.prior)

    def score(self, state: Tensor, question: Question) -> Scores:
        """Score the candidates of K decisions; ``state`` (K, hidden) is the trunk's output."""
        x = question.features[..., : self.from_candidate.in_features]
        own = self.from_state(state)
        # Adding in place would be into a view, whose gradient is copied five times.
        hidden = (self.from_candidate(x) + own[:, None]).relu_()
        out = nn.functional.linear(hidden, self.out.weight[:2], self.out.bias[:2])
        logits, values = out.unbind(dim=-1)
        if self.shape.prior:
            logits = -(self.prior_cost(question) + logits) / self.log_temperature.exp()
            values = values + question.cost.clamp(max=MOST_COST_S) / self.cost_scale

        def rate_logits(target: Tensor) -> Tensor:
            return self._rate_logits(own, question, target)

        return Scores(logits.masked_fill(~question.exists, -torch.inf), values, rate_logits)

    def _rate_logits(self, own: Tensor, question: Question, target: Tensor) -> Tensor:
        """The head at one target of each decision, and the prior of eq. (22) there, (K, rates)."""
        rows = torch.arange(len(target), device=target.device)
        x = question.features[rows, target, : self.from_candidate.in_features]
        hidden = torch.relu(self.from_candidate(x) + own)
        logits = nn.functional.linear(hidden, self.out.weight[2:], self.out.bias[2:])
        if not self.shape.prior:
            return logits
        delay = question.delay[rows, target].clamp(max=MOST_COST_S)
        cost = question.data[:, None] / self.rates_mb_s + delay[:, None] * self.rates_mb_s
        return logits - cost / self.log_temperature.exp()

    def prior_cost(self, question: Question) -> Tensor:
        """f'_u with the links' price weighted, scaled and with the kind's price if remote, s."""
        kinds = question.features[..., : len(GROUPS)]
        remote = 1.0 - kinds[..., 0]
        scale = torch.where(remote > 0.0, self.log_scale.exp(), 1.0)
        cost = (question.cost - (1.0 - self.price) * question.toll).clamp(max=MOST_COST_S)
        return cost * scale + kinds @ self.bias
