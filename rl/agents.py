"""The contract of ``crowd_edge_v0`` with its agents, whichever world they act in.

A step is a slot. An agent is shown its view at the start of the slot and its tasks of that slot,
and decides all of them at once; each is carried out at its birth.

Actions: (target, rate) for each of ``max_tasks`` places; ``action_mask`` leaves a single action
where a place has no task, and no padded target. Tasks beyond the places share the last decision.
Rewards: minus the cost of eq. (7) as it accrues: α for each of the agent's tasks and each second in
which its result is not known, and β R_u s when it is placed. So the sum over an episode is exactly
minus the sum of costs, with pending tasks counted until the end.
What an agent must not see is in ``state()`` and under ``infos[agent]["critic"]`` only.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from model.network import build_network
from model.observation import DeviceProfile
from model.scenario import Scenario
from model.workload import TaskTrace
from rl.account import Account, FloatArray, IntArray
from rl.simulator.layout import Layout
from rl.views import COLUMNS

Obs = dict[str, Any]
Actions = dict[str, NDArray[np.int64]]
Step = tuple[dict[str, Obs], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]


class Decided(NamedTuple):
    """Decisions of a slot, by agent: tasks, indices of their targets, rates on the wire in Mbps."""

    tasks: IntArray
    targets: IntArray
    rates_mbps: FloatArray


class DeviceAgents(ParallelEnv[str, Obs, NDArray[np.int64]]):  # type: ignore[misc]
    """Devices of a crowd-edge network that place their tasks; a world is added by inheritance.

    Observation, a dict: ``own`` (2,) Q in GHz·s and F in GHz; ``targets`` (T, 13), columns as
    ``rl.views.COLUMNS``, unknown = -1; ``tasks`` (max_tasks, 3): 1 where there is a task, its work
    in GHz·s, its data in MB; ``action_mask``.

    Args:
        scenario: what to run.
        max_tasks: places for the tasks of one agent in one slot.
        reward: ``own`` costs, or ``shared``: the mean over agents.

    Attributes:
        slot: the slot that comes next; time is ``slot * scenario.slot_s``.
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
        self.possible_agents = [p.name for p in self.profiles]
        self.agents: list[str] = []
        self.slot = 0
        self._rates = np.asarray(scenario.decision.rates_mbps)
        self._random = np.random.default_rng(0)
        size = self._layout.targets
        choices = [size, len(self._rates)] * max_tasks
        unbounded: dict[str, Any] = {"low": -np.inf, "high": np.inf, "dtype": np.float32}
        self.observation_spaces = {
            name: spaces.Dict(
                {
                    "own": spaces.Box(shape=(2,), **unbounded),
                    "targets": spaces.Box(shape=(size, len(COLUMNS)), **unbounded),
                    "tasks": spaces.Box(shape=(max_tasks, 3), **unbounded),
                    "action_mask": spaces.Tuple([spaces.MultiBinary(n) for n in choices]),
                }
            )
            for name in self.possible_agents
        }
        self.action_spaces = {name: spaces.MultiDiscrete(choices) for name in self.possible_agents}
        network = self._layout.network
        self.state_space = spaces.Box(
            shape=(2 * (len(network.shaped_links) + len(network.units)),), **unbounded
        )
        self._masks = [self._masks_of(len(p.targets)) for p in self.profiles]

    @property
    def profiles(self) -> tuple[DeviceProfile, ...]:
        """What each agent's device knows of itself and its targets, in the agents' order."""
        return self._layout.profiles

    @abstractmethod
    def _begin(self, seed: int) -> TaskTrace:
        """Start an episode; returns the trace of ``seed``."""

    @abstractmethod
    def _pass(self, decided: Decided) -> None:
        """Let the slot pass that comes next, with these decisions."""

    @abstractmethod
    def _views(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What all agents see now: ``own`` (agents, 2) and ``targets`` (agents, T, columns)."""

    @abstractmethod
    def _outcomes(self, tasks: IntArray) -> tuple[IntArray, FloatArray]:
        """Targets and times of results of tasks, as known now: see ``Account.charge``."""

    @abstractmethod
    def state(self) -> NDArray[np.float32]:
        """S = {Q, V, F}: V_l (MB) and c_l (MB/s) of the links, Q_u and F_u of the units."""

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
        self._trace = self._begin(int(self._random.integers(2**31)) if seed is None else seed)
        self._account = Account(self._trace, self.profiles)
        self.agents, self.slot = list(self.possible_agents), 0
        return self._observations(), self._infos()

    def step(self, actions: Actions) -> Step:
        """Decide the tasks of a slot and let it pass.

        Raises ``ValueError`` if an agent with tasks has no action, or chose a padded target.
        """
        self._pass(self._decide(actions))
        self.slot += 1
        due = self._account.open(self._born)
        costs = self._account.charge(*self._outcomes(due), self.slot * self.scenario.slot_s)
        if self.reward == "shared":
            costs = np.full_like(costs, costs.mean())
        agents, over = self.agents, self.slot >= self.scenario.slots
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

    def render(self) -> None:
        """There is nothing to see."""

    def close(self) -> None:
        """There is nothing to close."""

    def _decide(self, actions: Actions) -> Decided:
        """The decisions that actions stand for."""
        decided: list[tuple[int, int, float]] = []
        for profile, tasks in zip(self.profiles, self._tasks, strict=True):
            if not tasks:
                continue
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
                decided.append((task, target, self._rates[rate]))
        tasks_, targets, rates = zip(*decided, strict=True) if decided else ((), (), ())
        return Decided(
            np.array(tasks_, dtype=np.int64), np.array(targets, dtype=np.int64), np.array(rates)
        )

    def _turn(self) -> None:
        """Find the tasks of the slot that comes next, by device."""
        slot_s = self.scenario.slot_s
        first, last = np.searchsorted(
            self._trace.born_s, [self.slot * slot_s, (self.slot + 1) * slot_s]
        ).tolist()
        tasks: list[list[int]] = [[] for _ in self.possible_agents]
        for task, d in enumerate(self._trace.device[first:last].tolist(), first):
            tasks[d].append(task)
        self._tasks, self._born = tasks, np.arange(first, last)

    def _observations(self) -> dict[str, Obs]:
        self._turn()
        # One array for all, of which every agent is given its part.
        (own, shown), rows = self._views(), self._task_rows()
        return {
            name: {
                "own": own[d],
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
            rows[device, place, 0] = 1.0
            rows[device, place, 1] = self._trace.work_ghz_s[task]
            rows[device, place, 2] = self._trace.data_mb[task]
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
