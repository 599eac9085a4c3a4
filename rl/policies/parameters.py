"""Parameters of policies: names, types, and one spelling of each number."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from model.aliases import Value
from model.errors import UserError, nearest
from model.text import how_to_write

if TYPE_CHECKING:
    from rl.policies.base import Policy

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text; put it in quotes",
}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_DIGITS = re.compile(r"[-+]?[0-9]{1,18}")
_LARGEST_EXACT = 2.0**53


def parameters(kind: type[Policy]) -> dict[str, inspect.Parameter]:
    """Parameters of a policy's constructor by name, with their defaults."""
    if kind.__init__ is object.__init__:
        return {}
    found = inspect.signature(kind).parameters.values()
    return {p.name: p for p in found if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def checked(kind: type[Policy], name: str, params: Mapping[str, Value]) -> dict[str, Value]:
    """Convert every parameter to the type of its default.

    Raises ``UserError`` for a parameter that does not exist and a value that does not fit.
    """
    known = parameters(kind)
    for key in params:
        if key not in known:
            allowed = f"It has {', '.join(known)}" if known else "It has none"
            raise UserError(
                f"policy '{name}' has no parameter '{key}'{nearest(key, known) or '.'} {allowed}"
            )
    return {key: _converted(name, known[key], v) for key, v in plain(name, params).items()}


def plain(name: str, params: Mapping[str, Value]) -> dict[str, Value]:
    """Spell every number in one way: what is whole is an ``int``, so ``1e1`` and ``10.0`` are 10.

    Raises ``UserError`` for what is not one finite number, truth value or text.
    """
    return {key: _plain(f"policy '{name}': {key}", value) for key, value in params.items()}


def _plain(what: str, value: object) -> Value:
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        raise UserError(f"{what}: has no value; give one, or leave the parameter out")
    if not isinstance(value, bool | int | float | str):
        raise UserError(f"{what} = {value!r}: must be one number, true, false or text")
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise UserError(f"{what} = {value!r}: must be a finite number")
    return int(value) if value.is_integer() and abs(value) <= _LARGEST_EXACT else float(value)


def _converted(name: str, parameter: inspect.Parameter, value: Value) -> Value:
    """Return the value, which is plain, as the type of the parameter's default."""
    wanted = type(parameter.default)
    if wanted not in _WORDS:
        return value
    spelled = str(value).strip().lower()
    if wanted is type(value):
        return value
    if wanted is bool and spelled in _TRUTH:
        return _TRUTH[spelled]
    if wanted is int and _DIGITS.fullmatch(spelled):
        return int(spelled)
    if wanted is float and not isinstance(value, bool):
        number = _number(spelled)
        if math.isfinite(number):
            return number
    hint = how_to_write(value) if wanted in (int, float) else ""
    raise UserError(
        f"policy '{name}': {parameter.name} = {value!r}: must be {_WORDS[wanted]}{hint} "
        f"(its default is {parameter.default!r})"
    )


def _number(spelled: str) -> float:
    try:
        return float(spelled) if "_" not in spelled else math.nan
    except (ValueError, OverflowError):
        return math.nan
