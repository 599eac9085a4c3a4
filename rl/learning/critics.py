"""Critics of the global state: one value per environment, not per agent."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rl.learning.critic_input import STATE_COLUMNS
from rl.learning.options import Combination, TrainingConfig
from rl.learning.torch_actor import State, Trunk, orthogonal
from rl.policies.checkpoint import Cell


class Critic(nn.Module):
    """The parameters of V(S), the discounted mean charge of the decisions to come."""

    def __init__(self, inputs: int, trunk: tuple[int, int], cell: Cell, hidden: int):
        super().__init__()
        self.trunk = Trunk(inputs, trunk, cell, hidden)
        self.out = orthogonal(nn.Linear(hidden, 1), 1.0)


class Critics(nn.Module):
    """Several critics and their combination φ = Σ ς_n φ_n, with ς_n = 1/n.

    They are evaluated side by side, with their parameters stacked: few environments make small
    matrices, of which the number decides the time. n critics, H hidden.

    Args:
        combination: ``single`` critic; ``mean`` of ``count`` critics; their ``min`` (the paper's
            TD3-like ablation), the most pessimistic value.
        count: how many there are, unless single.
        inputs, trunk, cell, hidden: of each critic. They differ in their initial weights.
    """

    def __init__(
        self,
        combination: Combination,
        count: int,
        inputs: int,
        trunk: tuple[int, int] = (64, 64),
        cell: Cell = "gru",
        hidden: int = 64,
    ):
        super().__init__()
        self.combination: Combination = combination
        self._cell, self._hidden = cell, hidden
        number = 1 if combination == "single" else count
        self.members = nn.ModuleList(Critic(inputs, trunk, cell, hidden) for _ in range(number))

    @classmethod
    def from_config(cls, config: TrainingConfig) -> Critics:
        """Make fresh critics as a training's hyper-parameters have them, on the processor."""
        return cls(
            config.critics, config.critic_count, STATE_COLUMNS, config.trunk, config.cell,
            config.hidden,
        )  # fmt: skip

    def start(self, rows: int) -> State:
        """The state before the first slot: zeros, (n, rows, H) each."""
        device = next(self.parameters()).device
        zeros = torch.zeros(len(self.members), rows, self._hidden, device=device)
        return (zeros,) if self._cell == "gru" else (zeros, zeros.clone())

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Values (n, slots, rows) of a sequence (slots, rows, inputs), and the last state."""
        slots, rows = x.shape[:2]
        flat = functional.layer_norm(x, x.shape[-1:]).flatten(0, 1)
        gain, shift = self._stacked("trunk.norm.weight"), self._stacked("trunk.norm.bias")
        y = torch.addcmul(shift[:, None], flat[None], gain[:, None])
        for layer in ("trunk.first", "trunk.second"):
            y = torch.relu(self._linear(layer, y))
        given = self._linear("trunk.memory", y, "_ih_l0").view(len(y), slots, rows, -1)
        steps, state = self._gru(given, state) if self._cell == "gru" else self._lstm(given, state)
        out = torch.stack(steps, dim=1).flatten(1, 2)
        return self._linear("out", out).view(len(self.members), slots, rows), state

    def _stacked(self, name: str) -> Tensor:
        return torch.stack([critic.get_parameter(name) for critic in self.members])

    def _linear(self, layer: str, x: Tensor, suffix: str = "") -> Tensor:
        """The layer of every critic on its own input: (n, K, inputs) to (n, K, outputs)."""
        weight = self._stacked(f"{layer}.weight{suffix}")
        bias = self._stacked(f"{layer}.bias{suffix}")
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))

    def _gru(self, given: Tensor, state: State) -> tuple[list[Tensor], State]:
        """Outputs (n, rows, H) slot by slot, as ``torch.nn.GRU`` defines them."""
        weight, bias = self._again_weights()
        (h,) = state
        width, steps = self._hidden, []
        into_gates, into_new = torch.split(given, [2 * width, width], dim=-1)
        for gates, new in zip(into_gates.unbind(1), into_new.unbind(1), strict=True):
            again = torch.baddbmm(bias, h, weight)
            kept_gates, kept_new = torch.split(again, [2 * width, width], dim=-1)
            reset, update = torch.sigmoid(gates + kept_gates).chunk(2, dim=-1)
            h = torch.lerp(torch.tanh(torch.addcmul(new, reset, kept_new)), h, update)
            steps.append(h)
        return steps, (h,)

    def _lstm(self, given: Tensor, state: State) -> tuple[list[Tensor], State]:
        """Outputs (n, rows, H) slot by slot, as ``torch.nn.LSTM`` defines them."""
        weight, bias = self._again_weights()
        h, c = state
        steps = []
        for step in given.unbind(1):
            enter, forget, new, leave = (step + torch.baddbmm(bias, h, weight)).chunk(4, dim=-1)
            c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(new)
            h = torch.sigmoid(leave) * torch.tanh(c)
            steps.append(h)
        return steps, (h, c)

    def _again_weights(self) -> tuple[Tensor, Tensor]:
        weight = self._stacked("trunk.memory.weight_hh_l0")
        return weight.transpose(1, 2), self._stacked("trunk.memory.bias_hh_l0")[:, None]

    def combine(self, values: Tensor) -> Tensor:
        """One value from those of all critics along the first axis."""
        return values.amin(dim=0) if self.combination == "min" else values.mean(dim=0)
