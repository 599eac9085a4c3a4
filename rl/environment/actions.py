"""Check of what agents send: actions become one table of whole numbers, or a ``ValueError``.

An action is legal if it is a whole number, or an array of them, of the action space's shape and
within its range. Nothing is rounded, cut or counted from the end: a float, a truth value or -1 is
an error of the caller's. A refused step changes nothing; the same slot can be stepped again.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from model.aliases import IntArray
from model.random_streams import MAX_SEED_IN_TABLES
from model.text import shown

ActionSpace = spaces.Discrete | spaces.MultiDiscrete
_MAX_NAMES = 5
_INT64 = np.dtype(np.int64)
_shape_of = operator.attrgetter("shape")
_dtype_of = operator.attrgetter("dtype")


def checked_seed(seed: object) -> int:
    """The seed of an episode.

    Raises ``ValueError`` if it is not a whole number from 0 to ``MAX_SEED_IN_TABLES``.
    """
    try:
        value = -1 if isinstance(seed, bool | np.bool_) else operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        value = -1
    if not 0 <= value <= MAX_SEED_IN_TABLES:
        raise ValueError(f"seed {shown(seed)} is not a whole number from 0 to 2**63 - 1")
    return value


def action_table(
    actions: Mapping[str, Any], agents: Sequence[str], space: ActionSpace, labels: Sequence[str]
) -> IntArray:
    """Actions of all agents, (agents, numbers of an action).

    Args:
        actions: one of each agent.
        agents: who has to act, in order.
        space: the space that each action must be in.
        labels: what the numbers of an action mean, for messages.

    Raises ``ValueError`` if an agent has no action, an action has no agent, or an action is not in
    the space; the message names agent, value and range.
    """
    try:
        rows = [actions[name] for name in agents]
    except (KeyError, TypeError, IndexError):
        rows = []
    if not rows or len(actions) != len(rows):
        raise ValueError(_wrong_agents(actions, agents))
    shape = space.shape or ()
    table = _stacked(rows, shape)
    if table is None:
        table = np.stack([_whole(a, v, shape) for a, v in zip(agents, rows, strict=True)])
    limits = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.array([space.n])
    # As unsigned numbers, negative ones are beyond any limit.
    wrong = table.view(np.uint64) >= limits.astype(np.uint64)
    if wrong.any():
        row, column = (int(k) for k in np.argwhere(wrong)[0])
        raise ValueError(
            f"{agents[row]}: the {labels[column]} is {table[row, column]}, which is not one of "
            f"0 … {limits[column] - 1}"
        )
    return table


def _stacked(rows: list[Any], shape: tuple[int, ...]) -> IntArray | None:
    """The table, if all rows are what learners send as a rule: int64 of the right shape."""
    try:
        if set(map(_shape_of, rows)) != {shape} or set(map(_dtype_of, rows)) != {_INT64}:
            return None
    except (AttributeError, TypeError):
        return None
    return np.concatenate(rows).reshape(len(rows), -1) if shape else np.array([rows]).T


def _whole(agent: str, action: object, shape: tuple[int, ...]) -> IntArray:
    """One action as int64, (numbers,). Raises ``ValueError``."""
    wanted = f"whole numbers of shape {shape}" if shape else "a whole number"
    try:
        array = np.asarray(action)
    except Exception as error:  # noqa: BLE001 - any library's array may be handed in
        raise ValueError(f"{agent}: action {shown(action)} is not {wanted}: {error}") from None
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"{agent}: action {shown(action)} is not {wanted} (its type is {array.dtype})"
        )
    if array.shape != shape:
        raise ValueError(
            f"{agent}: action {shown(action)} is not {wanted} (its shape is {array.shape})"
        )
    # What does not fit into int64 is as far out of range as -1.
    whole = np.where(array > MAX_SEED_IN_TABLES, -1, array) if array.dtype == np.uint64 else array
    return np.atleast_1d(whole).astype(np.int64)


def _wrong_agents(actions: object, agents: Sequence[str]) -> str:
    """Why actions are not one of each agent."""
    if not isinstance(actions, Mapping):
        return f"actions {shown(actions)} are not a dict with an action of each agent"
    if missing := [name for name in agents if name not in actions]:
        return f"{_names(missing)} acts in this slot and has no action; env.agents lists who acts"
    unknown = [name for name in actions if name not in set(agents)]
    return f"there is no agent {_names(unknown)}; env.agents lists them: {_names(agents)}"


def _names(names: Sequence[object]) -> str:
    more = len(names) - _MAX_NAMES
    listed = ", ".join(
        name if isinstance(name, str) else shown(name) for name in names[:_MAX_NAMES]
    )
    return listed[:300] + (f" and {more} more" if more > 0 else "")
