"""Returns and normalisation: generalised advantages, running scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def generalised_advantages(
    rewards: Tensor, values: Tensor, discount: float, trace: float
) -> Tensor:
    """Â_t = Σ_k (γλ)^k δ_{t+k} with δ_t = r_t + γ V_{t+1} − V_t (Schulman et al. 2016).

    Args:
        rewards: (slots, ...).
        values: (slots + 1, ...); the last one is bootstrapped. Episodes end by the clock only, so
            their last value counts as any other (a time limit is no terminal state).
        discount: γ.
        trace: λ.
    """
    delta = rewards + discount * values[1:] - values[:-1]
    result, running = torch.empty_like(delta), torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = delta[t] + discount * trace * running
        result[t] = running
    return result


def standardised(values: Tensor, of: Tensor) -> Tensor:
    """(x − mean) / deviation by the moments of some of the values, (K,).

    ``of`` is a mask, (K,). Fewer than two values have no deviation: all are 0 then.
    """
    some = values[of]
    if len(some) < 2:
        return torch.zeros_like(values)
    return (values - some.mean()) / (some.std() + 1e-6)


class RunningScale(nn.Module):
    """Mean and deviation of a stream, exponentially weighted and without bias at the start.

    Its three numbers stay on the processor. The ValueNorm of the reference MAPPO: a critic's
    output is in normalised units, advantages are formed from ``restored`` values.
    """

    mean: Tensor
    square: Tensor
    weight: Tensor

    def __init__(self, beta: float = 0.995):
        super().__init__()
        self.beta = beta
        for name in ("mean", "square", "weight"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def update(self, values: Tensor) -> None:
        """Take in a batch; nothing happens where it is empty."""
        if not values.numel():
            return
        values = values.double()
        for buffer, now in ((self.mean, values.mean()), (self.square, values.square().mean())):
            buffer.mul_(self.beta).add_(now.cpu(), alpha=1.0 - self.beta)
        self.weight.mul_(self.beta).add_(1.0 - self.beta)

    @property
    def moments(self) -> tuple[float, float]:
        """(mean, standard deviation); (0, 1) before anything came in."""
        if not self.weight:
            return 0.0, 1.0
        mean = float(self.mean / self.weight)
        variance = float(self.square / self.weight) - mean * mean
        return mean, max(variance, 1e-8) ** 0.5

    def normalised(self, values: Tensor) -> Tensor:
        """(x − mean) / deviation."""
        mean, deviation = self.moments
        return (values - mean) / deviation

    def restored(self, values: Tensor) -> Tensor:
        """The inverse of ``normalised``."""
        mean, deviation = self.moments
        return values * deviation + mean
