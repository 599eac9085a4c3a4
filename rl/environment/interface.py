"""Form of observations, actions and masks of ``crowd_edge_v0``: the spaces, and both ways through.

The defaults show the most structure. Other libraries take less: ``observations="flat"`` gives one
vector, ``actions="discrete"`` one number a task, ``mask`` one array or none. Every combination has
the same content in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from model.aliases import IntArray
from model.errors import nearest
from rl.environment.actions import ActionSpace
from rl.environment.encoding import COLUMNS

MOST_TASKS = 1000
"""Largest ``max_tasks``: more places than any slot of a scenario needs would only cost memory."""
_TASK_COLUMNS = 3
_WORDS = {
    "reward": ("own", "shared"),
    "observations": ("dict", "flat"),
    "actions": ("pairs", "discrete"),
    "mask": ("sample", "flat", "none"),
}
Obs = Any
"""An observation: a dict of arrays, or a vector."""
Mask = NDArray[np.int8]


class EnvOptions(TypedDict, total=False):
    """Options of an environment in either world; ``Options`` says what they mean."""

    max_tasks: int
    reward: Literal["own", "shared"]
    observations: Literal["dict", "flat"]
    actions: Literal["pairs", "discrete"]
    mask: Literal["sample", "flat", "none"]
    render_mode: None


class Options(NamedTuple):
    """Options of an environment with their defaults.

    Attributes:
        max_tasks: K, places for the tasks of one agent in one slot, 1 … ``MOST_TASKS``.
        reward: ``own`` costs, or ``shared``: the mean over agents.
        observations: ``dict`` of arrays, or ``flat``: one vector.
        actions: ``pairs`` of target and rate for each place, or ``discrete``: one number for each
            place, ``target * rates + rate``; a ``Discrete`` space where K is 1.
        mask: as ``sample`` of the action space takes it, ``flat``: one array, or ``none``.
        render_mode: None, for there is nothing to see.
    """

    max_tasks: int = 6
    reward: str = "own"
    observations: str = "dict"
    actions: str = "pairs"
    mask: str = "sample"
    render_mode: str | None = None

    def require_known(self) -> None:
        """Raise ``ValueError`` if an option has no such value; names option, value and choices."""
        for name, words in _WORDS.items():
            word = getattr(self, name)
            if word not in words:
                guess = nearest(word, words) if isinstance(word, str) else ""
                raise ValueError(f"{name}={word!r} is not one of {', '.join(words)}{guess}")
        count: Any = self.max_tasks
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not whole or not 1 <= count <= MOST_TASKS:
            raise ValueError(f"max_tasks={count!r} is not a whole number from 1 to {MOST_TASKS}")
        if self.render_mode is not None:
            raise ValueError(f"render_mode={self.render_mode!r}: there is nothing to render")


class Interface:
    """What an agent is given and gives, as arrays of the form that the options ask for.

    Attributes:
        observation_spaces, action_spaces: by agent, an object for each.
        labels: what the numbers of an action mean.
    """

    def __init__(self, agents: Sequence[str], targets: Sequence[int], rates: int, options: Options):
        """Make the spaces.

        Args:
            agents: names.
            targets: how many targets each agent has.
            rates: how many rates there are.
            options: the form.
        """
        self._options, self._rates = options, rates
        self._places, self._size = int(options.max_tasks), max(targets)
        self._counts, self._targets = tuple(targets), np.asarray(targets, dtype=np.int64)
        joint = options.actions == "discrete"
        self._choices = [self._size * rates] if joint else [self._size, rates]
        self._single = joint and self._places == 1
        names = ["action"] if joint else ["target", "rate"]
        self.labels = [f"{name} of place {k}" for k in range(self._places) for name in names]
        self._open, self._closed = self._allowed(), self._idle()
        self._tuples: dict[tuple[int, int], tuple[Mask, ...]] = {}
        self.action_spaces = {name: self._action_space() for name in agents}
        self.observation_spaces = {name: self._observation_space() for name in agents}

    def decode(self, table: IntArray) -> tuple[IntArray, IntArray]:
        """Targets and rates, as indices, that checked actions stand for, (agents, K) each.

        Without a mask every action of the space is legal: a target beyond an agent's own ones
        stands for one of them, counted from the first again.
        """
        if self._options.actions == "discrete":
            targets, rates = np.divmod(table, self._rates)
        else:
            targets, rates = table[:, 0::2], table[:, 1::2]
        if self._options.mask == "none":
            targets = targets % self._targets[:, None]
        return targets, rates

    def observations(
        self,
        own: NDArray[np.float32],
        targets: NDArray[np.float32],
        tasks: NDArray[np.float32],
        counts: IntArray,
    ) -> list[Obs]:
        """What each agent is given.

        Args:
            own: (agents, 2).
            targets: (agents, T, columns).
            tasks: (agents, K, 3).
            counts: how many tasks each agent has in the slot, (agents,).
        """
        masks = self._masks(counts)
        if self._options.observations == "flat":
            parts = [part.reshape(len(own), -1) for part in (own, targets, tasks)]
            vectors = np.concatenate(parts, axis=1)
            if masks is None:
                return list(vectors)
            return [
                {"observation": vector, "action_mask": mask}
                for vector, mask in zip(vectors, masks, strict=True)
            ]
        rows = zip(own, targets, tasks, strict=True)
        if masks is None:
            return [{"own": o, "targets": t, "tasks": k} for o, t, k in rows]
        return [
            {"own": o, "targets": t, "tasks": k, "action_mask": mask}
            for (o, t, k), mask in zip(rows, masks, strict=True)
        ]

    def _action_space(self) -> ActionSpace:
        if self._single:
            return spaces.Discrete(self._choices[0])
        return spaces.MultiDiscrete(self._choices * self._places)

    def _observation_space(self) -> spaces.Space[Any]:
        unbounded: dict[str, Any] = {"low": -np.inf, "high": np.inf, "dtype": np.float32}
        shapes = {
            "own": (2,),
            "targets": (self._size, len(COLUMNS)),
            "tasks": (self._places, _TASK_COLUMNS),
        }
        parts: dict[str, spaces.Space[Any]]
        if self._options.observations == "flat":
            length = sum(int(np.prod(shape)) for shape in shapes.values())
            parts = {"observation": spaces.Box(shape=(length,), **unbounded)}
            if self._options.mask == "none":
                return parts["observation"]
        else:
            parts = {name: spaces.Box(shape=shape, **unbounded) for name, shape in shapes.items()}
        if self._options.mask != "none":
            parts["action_mask"] = self._mask_space()
        return spaces.Dict(parts)

    def _mask_space(self) -> spaces.Space[Any]:
        if self._options.mask == "flat" or self._single:
            return spaces.Box(0, 1, (sum(self._choices) * self._places,), np.int8)
        return spaces.Tuple([spaces.MultiBinary(n) for n in self._choices * self._places])

    def _allowed(self) -> Mask:
        """Choices of a place with a task: no padded target; (agents, choices)."""
        targets = np.arange(self._size) < self._targets[:, None]
        if self._options.actions == "discrete":
            return np.repeat(targets, self._rates, axis=1).astype(np.int8)
        rates = np.ones((len(targets), self._rates), dtype=np.bool_)
        return np.concatenate([targets, rates], axis=1).astype(np.int8)

    def _idle(self) -> Mask:
        """Choices of a place without a task: a single one; (choices,)."""
        mask = np.zeros(sum(self._choices), dtype=np.int8)
        mask[np.cumsum([0, *self._choices[:-1]])] = 1
        return mask

    def _masks(self, counts: IntArray) -> Sequence[Any] | NDArray[np.int8] | None:
        if self._options.mask == "none":
            return None
        if self._options.mask == "flat" or self._single:
            filled = np.arange(self._places) < counts[:, None]
            masks = np.where(filled[:, :, None], self._open[:, None, :], self._closed)
            return masks.reshape(len(counts), -1)
        filled_places = np.minimum(counts, self._places).tolist()
        found = [self._tuples.get(key) for key in zip(self._counts, filled_places, strict=True)]
        if None in found:
            found = [self._tuple(d, count) for d, count in enumerate(filled_places)]
        return found

    def _tuple(self, agent: int, count: int) -> tuple[Mask, ...]:
        """Masks of an agent with ``count`` tasks, made once; not to be written."""
        key = self._counts[agent], count
        found = self._tuples.get(key)
        if found is None:
            cuts = np.cumsum(self._choices)[:-1]
            busy, idle = (
                [part.copy() for part in np.split(mask, cuts)]
                for mask in (self._open[agent], self._closed)
            )
            for mask in (*busy, *idle):
                mask.setflags(write=False)
            places = [busy if place < count else idle for place in range(self._places)]
            found = tuple(mask for place in places for mask in place)
            self._tuples[key] = found
        return found
