"""A device that is not there: tensors that say they are elsewhere, and refuse to meet others.

Their numbers are in the processor's memory and computed with there, so results are those of the
processor. As with a GPU, no function takes tensors from both sides (but a scalar of the
processor's), and nothing there becomes a NumPy array without coming home first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("privateuseone", 0)


class Elsewhere(Tensor):
    """A tensor of the pretend device."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = self.detach().clone()
        made = Parameter(copied, self.requires_grad) if isinstance(self, Parameter) else copied
        memo[id(self)] = made
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return DEVICE
        if func is Tensor.numpy:
            raise TypeError(f"a tensor of {DEVICE} has no NumPy array")
        if func is Tensor.cpu:
            return _home(args[0].detach().clone())
        if func is torch._has_compatible_shallow_copy_type:
            return all(isinstance(x, Elsewhere) for x in args)
        if func is not Tensor.copy_:
            _no_strangers(func, args, kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        if func is Tensor.copy_:
            return args[0]
        return tree_map(_gone, result)


class _Pretence(TorchFunctionMode):
    """Sends tensors to the pretend device, makes them there, and gets them back."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        asked = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.device)]
        if not asked or func is torch._C._nn._parse_to:
            return func(*args, **kwargs)
        there = asked[0].type == DEVICE.type
        args, kwargs = tree_map(_on_processor, (args, kwargs))
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            if result is args[0]:
                if isinstance(result, Elsewhere) == there:
                    return result
                result = result.detach().clone()
            return _gone(result) if there else _home(result)


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """While this is open, torch knows the device that it yields."""
    with _Pretence():
        yield DEVICE


def _no_strangers(func: Any, args: Any, kwargs: Any) -> None:
    in_place = func.__name__.endswith("_") and not func.__name__.endswith("__")
    for x in tree_leaves((args, kwargs)):
        at_home = isinstance(x, Tensor) and not isinstance(x, Elsewhere)
        if at_home and (x.dim() or (in_place and x is args[0])):
            raise RuntimeError(f"{func}: tensors of {DEVICE} and of {x.device}")


def _on_processor(x: Any) -> Any:
    return torch.device("cpu") if isinstance(x, torch.device) else x


def _gone(x: Any) -> Any:
    if not isinstance(x, Tensor) or isinstance(x, Elsewhere):
        return x
    return x.as_subclass(Elsewhere)


def _home(x: Any) -> Any:
    return x.as_subclass(Tensor) if isinstance(x, Elsewhere) else x
