"""Where networks learn: the processor, or a GPU. Playing is on the processor in either case."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.errors import UserError
from rl.learning.options import Device


def learning_device(asked: Device) -> torch.device:
    """The device of ``asked``; raises ``UserError`` for a GPU that is not there."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UserError(
            f"device=cuda: torch {torch.__version__} finds no CUDA GPU on this machine; "
            "device=cpu learns on the processor, device=auto wherever it can"
        )
    if asked == "cpu" or not there:
        return torch.device("cpu")
    # TF32 keeps 10 bits of a factor; ratios of probabilities near 1 are what PPO learns from.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def moved(x: Any, device: torch.device) -> Any:
    """The same on a device: a tensor, a tuple or named tuple of such, or anything else as it is."""
    if isinstance(x, Tensor):
        return x.to(device)
    if isinstance(x, tuple):
        each = [moved(part, device) for part in x]
        return type(x)(*each) if hasattr(x, "_fields") else type(x)(each)
    return x
