"""Check of what a policy decides: the same rule and the same words in both worlds.

NumPy alone: a device's process uses this as well.
"""

from __future__ import annotations

import math
import operator
import sysconfig
import traceback
from pathlib import Path

import numpy as np

from model.errors import UserError
from model.observation import Decision, DeviceProfile
from model.text import shown

_LIBRARIES = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen",
)
"""Where Python's and other packages' code lies: an error there is explained by who called it."""
_ROUNDING = 1e-6
"""Relative error of a rate at a limit: float32 rounds by less."""


class PolicyError(UserError):
    """A policy raised, or decided on what is illegal; one line.

    Attributes:
        trace: the whole traceback of what it raised; "" where it decided on what is illegal.
    """

    trace = ""


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


def raised(method: str, error: BaseException) -> PolicyError:
    """Return the error that names what a policy's method raised, and where in the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)] or frames
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    found = PolicyError(f"{method}: {type(error).__name__}: {error}{where}")
    found.trace = "".join(traceback.format_exception(error))
    return found


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
