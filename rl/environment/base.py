"""The contract of ``crowd_edge_v0`` with its agents, whichever world they act in.

A step is a slot. An agent is shown its view at the start of the slot and its tasks of that slot,
and decides all of them at once; each is carried out at its birth.

Actions: (target, rate) for each of ``max_tasks`` places; ``action_mask`` leaves a single action
where a place has no task, and no padded target. Tasks beyond the places share the last decision.
``rl.environment.interface`` has the other forms, and ``rl.environment.actions`` checks that actions
are legal. Rewards: minus the cost of eq. (7) as it accrues: α for each of the agent's tasks and
each second in which its result is not known, and β R_u s when it is placed. So the sum over an
episode is exactly minus the sum of costs, with pending tasks counted until the end.
What an agent must not see is in ``state()`` and under ``infos[agent]["critic"]`` only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from model.aliases import FloatArray, IntArray
from model.observation import DeviceProfile
from model.scenario import Scenario
from model.scenario.load import load_scenario
from model.workload import TaskTrace
from rl.environment.actions import ActionSpace, action_table, checked_seed
from rl.environment.births import Births
from rl.environment.interface import EnvOptions, Interface, Obs, Options
from rl.environment.rewards import Account
from rl.simulator.layout import Layout

Actions = Mapping[str, Any]
Step = tuple[dict[str, Obs], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]


_NO_EPISODE = "no episode is under way: call reset() first"
_OVER = "the episode is over: call reset() to begin another"


class Decided(NamedTuple):
    """Decisions of a slot: tasks, indices of their targets, rates on the wire in Mbps."""

    tasks: IntArray
    targets: IntArray
    rates_mbps: FloatArray


def resolved(scenario: Scenario | str | Path) -> Scenario:
    """The scenario itself, or the one of that name or path.

    Raises ``ScenarioError`` if there is none, ``ValueError`` if it is neither.
    """
    if isinstance(scenario, Scenario):
        return scenario
    if isinstance(scenario, str | Path):
        return load_scenario(scenario)
    raise ValueError(
        f"scenario is a {type(scenario).__name__}, not a Scenario or the name or path of one"
    )


class DeviceAgents(ParallelEnv[str, Obs, NDArray[np.int64]]):  # type: ignore[misc]
    """Devices of a crowd-edge network that place their tasks; a world is added by inheritance.

    Observation, a dict: ``own`` (2,) Q in GHz·s and F in GHz; ``targets`` (T, 13), columns as
    ``rl.environment.encoding.COLUMNS``, unknown = -1; ``tasks`` (max_tasks, 3): 1 where there is a
    task, its work in GHz·s, its data in MB; ``action_mask``.

    Args:
        scenario: what to run: a scenario, its name or its path.
        options: see ``rl.environment.interface.Options``.

    Attributes:
        slot: the slot that comes next; time is ``slot * scenario.slot_s``.

    Raises ``ValueError`` for an option's value that does not exist, ``ScenarioError`` for a
    scenario that does not.
    """

    def __init__(self, scenario: Scenario | str | Path, **options: Unpack[EnvOptions]):
        chosen = Options(**options)
        chosen.require_known()
        self.metadata = {"name": "crowd_edge_v0", "is_parallelizable": True, "render_modes": []}
        self.render_mode = None
        self.scenario = resolved(scenario)
        self.max_tasks, self.reward = int(chosen.max_tasks), chosen.reward
        self._layout = Layout.of(self.scenario)
        self.possible_agents = [p.name for p in self.profiles]
        self.agents: list[str] = []
        self.slot = 0
        self._begun = False
        self._rates = np.asarray(self.scenario.decision.rates_mbps)
        self._random = np.random.default_rng(0)
        self._targets_of = np.array([len(p.targets) for p in self.profiles])
        counts = self._targets_of.tolist()
        self._interface = Interface(self.possible_agents, counts, len(self._rates), chosen)
        self.observation_spaces = self._interface.observation_spaces
        self.action_spaces = self._interface.action_spaces
        network = self._layout.network
        numbers = 2 * (len(network.shaped_links) + len(network.units))
        self.state_space = spaces.Box(-np.inf, np.inf, (numbers,), np.float32)

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
    def _state_now(self) -> NDArray[np.float32]:
        """S at the start of the slot that comes next; see ``state``."""

    def state(self) -> NDArray[np.float32]:
        """S = {Q, V, F}: V_l (MB) and c_l (MB/s) of the links, Q_u and F_u of the units.

        Raises ``ValueError`` before the first episode.
        """
        if not self._begun:
            raise ValueError(_NO_EPISODE)
        return self._state_now()

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """The space of an agent's observations; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> ActionSpace:
        """The space of an agent's actions; always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Obs], dict[str, dict[str, Any]]]:
        """Start an episode on the trace of ``seed``; without one, traces follow from the last.

        ``options`` has no meaning here. Raises ``ValueError`` for a seed that is not a whole number
        from 0 to 2**63 - 1; the episode under way then goes on.
        """
        if seed is not None:
            seed = checked_seed(seed)
            self._random = np.random.default_rng(seed)
        self.agents = []
        self._trace = self._begin(int(self._random.integers(2**31)) if seed is None else seed)
        self._account = Account(self._trace, self.profiles)
        self._births = Births(self._trace, self.scenario.slots, self.scenario.slot_s)
        self.agents, self.slot, self._begun = list(self.possible_agents), 0, True
        return self._observations(), self._infos()

    def step(self, actions: Actions) -> Step:
        """Decide the tasks of a slot and let it pass.

        Raises ``ValueError`` if no episode is under way, an agent has no action or an action no
        agent, or an action is illegal: not of the action space, or a padded target for a task.
        The message names agent, value and range. Nothing has happened then, and the same slot can
        be stepped again. Whatever else goes wrong ends the episode: ``agents`` is empty.
        """
        if not self.agents:
            raise ValueError(_OVER if self._begun else _NO_EPISODE)
        decided = self._decide(actions)
        try:
            self._pass(decided)
        except BaseException:
            self.agents = []
            raise
        self.slot += 1
        due = self._account.open(self._born.tasks)
        costs = self._account.charge(*self._outcomes(due), self.slot * self.scenario.slot_s)
        if self.reward == "shared":
            costs = np.full_like(costs, costs.mean())
        agents, over = self.agents, self.slot >= self.scenario.slots
        rewards = dict(zip(agents, (-costs).tolist(), strict=True))
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
        """The decisions that actions stand for; raises ``ValueError`` as ``step`` says."""
        names, born = self.possible_agents, self._born
        space = self.action_spaces[names[0]]
        table = action_table(actions, names, space, self._interface.labels)
        targets, rates = self._interface.decode(table)
        place = np.minimum(born.place, self.max_tasks - 1)
        chosen = targets[born.device, place]
        padded = chosen >= self._targets_of[born.device]
        if padded.any():
            k = int(np.argmax(padded))
            name, last = names[born.device[k]], self._targets_of[born.device[k]] - 1
            raise ValueError(
                f"{name}: target {chosen[k]} of place {place[k]} is padding; see action_mask "
                f"(its targets are 0 … {last})"
            )
        return Decided(born.tasks, chosen, self._rates[rates[born.device, place]])

    def _observations(self) -> dict[str, Obs]:
        self._born = born = self._births.of(self.slot)
        # One array for all, of which every agent is given its part.
        own, shown = self._views()
        counts = np.bincount(born.device, minlength=len(self.possible_agents))
        seen = self._interface.observations(own, shown, self._task_rows(), counts)
        return dict(zip(self.possible_agents, seen, strict=True))

    def _task_rows(self) -> NDArray[np.float32]:
        """Rows of all agents' tasks, (agents, max_tasks, 3)."""
        rows = np.zeros((len(self.possible_agents), self.max_tasks, 3), dtype=np.float32)
        tasks, device, place = self._born
        if len(place) and place.max() >= self.max_tasks:
            shown = place < self.max_tasks
            tasks, device, place = tasks[shown], device[shown], place[shown]
        rows[device, place, 0] = 1.0
        rows[device, place, 1] = self._trace.work_ghz_s[tasks]
        rows[device, place, 2] = self._trace.data_mb[tasks]
        return rows

    def _infos(self) -> dict[str, dict[str, Any]]:
        hidden = self._state_now()
        return {name: {"critic": hidden} for name in self.agents}
