"""The simulator as a PettingZoo environment: ``crowd_edge_v0``, one agent per device.

A step is a slot. An agent is shown its view at the start of the slot and its tasks of that slot,
and decides all of them at once; each is carried out at its birth. (Policies of ``rl.policies`` are
asked task by task instead: ``rl.simulator.run``.)

Actions: (target, rate) for each of ``max_tasks`` places; ``action_mask`` leaves a single action
where a place has no task, and no padded target. Tasks beyond the places share the last decision.
Rewards: minus the cost of eq. (7) as it accrues: α for each of the agent's tasks and each second in
which its result is not known, and β R_u s when it is placed. So the sum over an episode is exactly
minus the sum of costs, with pending tasks counted until the end.
What an agent must not see is in ``state()`` and under ``infos[agent]["critic"]`` only.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from model.network import build_network
from model.scenario import Scenario
from rl.simulator import arrays as ix
from rl.simulator import senses
from rl.simulator.batch import Batch
from rl.simulator.layout import Layout

NEVER = -1.0
"""Stands for what was never observed (NaN in ``model.observation``); ages then are ``OLDEST_S``."""
OLDEST_S = 1e3

Obs = dict[str, Any]


def crowd_edge_v0(scenario: Scenario, **options: Any) -> CrowdEdge:
    """The environment of a scenario; options as of ``CrowdEdge``."""
    return CrowdEdge(scenario, **options)


class CrowdEdge(ParallelEnv[str, Obs, NDArray[np.int64]]):  # type: ignore[misc]
    """Devices of a crowd-edge network that place their tasks.

    Observation, a dict: ``own`` (2,) Q in GHz·s and F in GHz; ``targets`` (T, 13), columns as
    ``model.observation.Observation`` from ``inflight_tasks`` on, unknown = -1; ``tasks``
    (max_tasks, 3): 1 where there is a task, its work in GHz·s, its data in MB; ``action_mask``.

    Args:
        scenario: what to run.
        max_tasks: places for the tasks of one agent in one slot.
        reward: ``own`` costs, or ``shared``: the mean over agents.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        max_tasks: int = 6,
        reward: Literal["own", "shared"] = "own",
    ):
        self.metadata = {"name": "crowd_edge_v0", "is_parallelizable": True, "render_modes": []}
        self.render_mode = None
        self.scenario, self.max_tasks, self.reward = scenario, max_tasks, reward
        self._layout = Layout(scenario, build_network(scenario))
        self.possible_agents = [p.name for p in self._layout.profiles]
        self.agents: list[str] = []
        self._rates = np.asarray(scenario.decision.rates_mbps)
        self._random = np.random.default_rng(0)
        size = self._layout.targets
        choices = [size, len(self._rates)] * max_tasks
        unbounded: dict[str, Any] = {"low": -np.inf, "high": np.inf, "dtype": np.float32}
        self.observation_spaces = {
            name: spaces.Dict(
                {
                    "own": spaces.Box(shape=(2,), **unbounded),
                    "targets": spaces.Box(shape=(size, senses.VIEW_ROWS), **unbounded),
                    "tasks": spaces.Box(shape=(max_tasks, 3), **unbounded),
                    "action_mask": spaces.Tuple([spaces.MultiBinary(n) for n in choices]),
                }
            )
            for name in self.possible_agents
        }
        self.action_spaces = {name: spaces.MultiDiscrete(choices) for name in self.possible_agents}
        count = len(self._layout.network.shaped_links), len(self._layout.network.units)
        self.state_space = spaces.Box(shape=(2 * sum(count),), **unbounded)
        self._links, self._units = np.zeros((count[0], 2)), np.zeros((count[1], 2))
        self._masks = [self._masks_of(len(p.targets)) for p in self._layout.profiles]

    def observation_space(self, agent: str) -> spaces.Dict:
        """The space of an agent's observations; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.MultiDiscrete:
        """The space of an agent's actions; always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Obs], dict[str, dict[str, Any]]]:
        """Start an episode on the trace of ``seed``; without one, traces follow from the last."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        trace = int(self._random.integers(2**31)) if seed is None else seed
        self.batch = Batch(self.scenario, [trace], layout=self._layout)
        self.agents = list(self.possible_agents)
        self._open = np.zeros(0, dtype=np.int64)
        return self._observations(), self._infos()

    def step(
        self, actions: dict[str, NDArray[np.int64]]
    ) -> tuple[dict[str, Obs], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """Decide the tasks of a slot and let it pass.

        Raises ``ValueError`` if an agent with tasks has no action, or chose a padded target.
        """
        batch, start = self.batch, self.batch.now_s
        fees = self._place(actions)
        batch.step()
        costs = self.scenario.decision.alpha * self._waited(start, batch.now_s) + fees
        if self.reward == "shared":
            costs = np.full_like(costs, costs.mean())
        agents, over = self.agents, batch.slot >= self.scenario.slots
        rewards = {name: -float(cost) for name, cost in zip(agents, costs, strict=True)}
        observations, infos = self._observations(), self._infos()
        if over:
            self.agents = []
        return (
            observations,
            rewards,
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            infos,
        )

    def state(self) -> NDArray[np.float32]:
        """S = {Q, V, F}: V_l (MB) and c_l (MB/s) of the links, Q_u and F_u of the units."""
        batch = self.batch
        senses.state(batch.fixed, batch.moving, 0, batch.now_s, self._links, self._units)
        parts = (self._links[:, 0], self._links[:, 1], self._units[:, 0], self._units[:, 1])
        return np.concatenate(parts).astype(np.float32)

    def render(self) -> None:
        """There is nothing to see."""

    def close(self) -> None:
        """There is nothing to close."""

    def _slot_tasks(self) -> list[list[int]]:
        """The tasks of the slot that comes next, by device."""
        first, last = self.batch.slot_tasks()
        device = self.batch.moving.task_ref[0, :, ix.DEVICE]
        tasks: list[list[int]] = [[] for _ in self.possible_agents]
        for task, d in enumerate(device[first[0] : last[0]].tolist(), int(first[0])):
            tasks[d].append(task)
        self._born = np.arange(first[0], last[0])
        return tasks

    def _place(self, actions: dict[str, NDArray[np.int64]]) -> NDArray[np.float64]:
        """Write down the decisions; returns each agent's fees."""
        batch, fees = self.batch, np.zeros(len(self.possible_agents))
        for device, tasks in enumerate(self._tasks):
            if not tasks:
                continue
            profile = self._layout.profiles[device]
            if profile.name not in actions:
                raise ValueError(f"{profile.name} has tasks and was given no action")
            chosen = np.asarray(actions[profile.name]).tolist()
            for place, task in enumerate(tasks):
                at = 2 * min(place, self.max_tasks - 1)
                target, rate = chosen[at : at + 2]
                if target >= len(profile.targets):
                    raise ValueError(
                        f"{profile.name}: target {target} is padding; see action_mask "
                        f"(there are {len(profile.targets)} targets)"
                    )
                batch.targets[0, task], batch.rates[0, task] = target, self._rates[rate]
                work = batch.moving.task[0, task, ix.WORK]
                fees[device] += profile.beta * profile.prices[target] * work
        return fees

    def _waited(self, start: float, end: float) -> NDArray[np.float64]:
        """Σ over each device's tasks of the time in [start, end] before the result, s."""
        # Only tasks that were open at the start, and those born since, can have waited.
        waiting = np.concatenate([self._open, self._born])
        rows = self.batch.moving.task[0, waiting]
        known = rows[:, ix.KNOWN]
        done = known < end
        until = np.where(done, known, end)
        spent = np.maximum(until - np.maximum(rows[:, ix.BORN], start), 0.0)
        device = self.batch.moving.task_ref[0, waiting, ix.DEVICE]
        self._open = waiting[~done]
        sums = np.bincount(device, weights=spent, minlength=len(self.possible_agents))
        return sums.astype(np.float64)

    def _observations(self) -> dict[str, Obs]:
        batch, size = self.batch, self._layout.targets
        devices = len(self.possible_agents)
        own, view = np.empty((1, devices, 2)), np.empty((1, devices, senses.VIEW_ROWS, size))
        senses.look_all(batch.fixed, batch.moving, batch.now_s, own, view)
        shown = view[0].swapaxes(1, 2).astype(np.float32)
        shown[np.isnan(shown)] = NEVER
        shown[np.isposinf(shown)] = OLDEST_S
        self._tasks = self._slot_tasks()
        # One array for all, of which every agent is given its part.
        mine, rows = own[0].astype(np.float32), self._task_rows()
        return {
            name: {
                "own": mine[d],
                "targets": shown[d],
                "tasks": rows[d],
                "action_mask": self._masks[d][min(len(self._tasks[d]), self.max_tasks)],
            }
            for d, name in enumerate(self.possible_agents)
        }

    def _task_rows(self) -> NDArray[np.float32]:
        """Rows of all agents' tasks, (agents, max_tasks, 3)."""
        rows = np.zeros((len(self._tasks), self.max_tasks, 3), dtype=np.float32)
        places = [
            (d, place, task)
            for d, tasks in enumerate(self._tasks)
            for place, task in enumerate(tasks[: self.max_tasks])
        ]
        if places:
            device, place, task = np.array(places).T
            data = self.batch.moving.task[0, task]
            rows[device, place, 0] = 1.0
            rows[device, place, 1:] = data[:, (ix.WORK, ix.DATA)]
        return rows

    def _masks_of(self, count: int) -> list[tuple[NDArray[np.int8], ...]]:
        """Masks of an agent with ``count`` targets, by its number of tasks; not to be written."""
        return [self._mask(count, tasks) for tasks in range(self.max_tasks + 1)]

    def _mask(self, count: int, tasks: int) -> tuple[NDArray[np.int8], ...]:
        size, rates = self._layout.targets, len(self._rates)
        allowed = (np.arange(size) < count).astype(np.int8), np.ones(rates, dtype=np.int8)
        single = np.zeros(size, dtype=np.int8), np.zeros(rates, dtype=np.int8)
        single[0][0] = single[1][0] = 1
        for mask in (*allowed, *single):
            mask.setflags(write=False)
        places = [allowed if place < tasks else single for place in range(self.max_tasks)]
        return tuple(mask for pair in places for mask in pair)

    def _infos(self) -> dict[str, dict[str, Any]]:
        hidden = self.state()
        return {name: {"critic": hidden} for name in self.agents}
