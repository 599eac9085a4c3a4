"""Check of what a policy decides: the same rule and the same words in both worlds.

NumPy alone: a device's process uses this as well.
"""

from __future__ import annotations

import math
import operator
import traceback
from pathlib import Path

import numpy as np

from model.errors import UserError
from model.observation import Decision, DeviceProfile
from model.text import shown

_ROUNDING = 1e-6
"""Relative error of a rate at a limit: float32 rounds by less."""


class PolicyError(UserError):
    """A policy raised, or decided on what is illegal; one line."""


def checked(decision: object, profile: DeviceProfile) -> Decision:
    """A policy's decision, its target an int and its rate a float.

    Raises ``PolicyError`` if it is no ``Decision``, its target is not the index of one of the
    profile's targets, or its rate is not a number from ``min_rate_mbps`` to ``max_rate_mbps``.
    """
    if not isinstance(decision, Decision):
        raise PolicyError(f"decided on a {type(decision).__name__}, not a Decision")
    target, rate = _index(decision.target), _number(decision.rate_mbps)
    if not 0 <= target < len(profile.targets):
        last = len(profile.targets) - 1
        raise PolicyError(f"target {shown(decision.target)} is not one of 0 … {last}")
    low, high = profile.min_rate_mbps, profile.max_rate_mbps
    if low <= rate <= high:
        return Decision(target, rate)
    if low * (1.0 - _ROUNDING) <= rate <= high * (1.0 + _ROUNDING):
        return Decision(target, min(max(rate, low), high))
    raise PolicyError(
        f"rate {shown(decision.rate_mbps)} is not a number from {low:g} to {high:g} Mbps"
    )


def raised(method: str, error: Exception) -> PolicyError:
    """What a policy's method raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return PolicyError(f"{method}: {type(error).__name__}: {error}{where}")


def _index(value: object) -> int:
    """A whole number, or -1."""
    try:
        return -1 if isinstance(value, bool | np.bool_) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return -1


def _number(value: object) -> float:
    """A number, or NaN."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
