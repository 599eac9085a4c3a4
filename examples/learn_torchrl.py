"""TorchRL on ``crowd_edge_v0``: a categorical policy that the action mask keeps from padding.

``PettingZooWrapper`` takes the environment as it is. The loop is REINFORCE without a baseline, the
shortest learner there is: it shows the interface, not how good a policy can get.

    ./lab python -m pip install --no-deps torchrl==0.11.1 tensordict==0.11.0 pyvers orjson \
        importlib-metadata zipp
    ./lab python examples/learn_torchrl.py [SCENARIO] [EPISODES]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import torch
from tensordict.nn import TensorDictModule
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.modules import MaskedCategorical, ProbabilisticActor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model.load import load_scenario
from rl.env import crowd_edge_v0

GROUP = "devices"


def environment(scenario_name: str, slots: int) -> Any:
    """The environment in TorchRL's form: one group with all agents, one number an agent."""
    scenario = load_scenario(scenario_name, {"slots": slots})
    env = crowd_edge_v0(scenario, max_tasks=1, observations="flat", actions="discrete", mask="flat")
    groups = {GROUP: env.possible_agents}
    return PettingZooWrapper(env, categorical_actions=True, group_map=groups)


def main(scenario_name: str = "mini", episodes: int = 20) -> list[float]:
    """Train and return the mean cost of an agent in each episode."""
    torch.manual_seed(1)
    env = environment(scenario_name, slots=60)
    env.set_seed(1)
    seen = (GROUP, "observation", "observation")
    width = env.observation_spec[seen].shape[-1]
    choices = env.full_action_spec[GROUP, "action"].space.n
    net = torch.nn.Sequential(
        torch.nn.LayerNorm(width), torch.nn.Linear(width, 64), torch.nn.Tanh(),
        torch.nn.Linear(64, choices),
    )  # fmt: skip
    actor = ProbabilisticActor(
        TensorDictModule(net, in_keys=[seen], out_keys=[(GROUP, "logits")]),
        in_keys={"logits": (GROUP, "logits"), "mask": (GROUP, "action_mask")},
        out_keys=[(GROUP, "action")],
        distribution_class=MaskedCategorical,
        return_log_prob=True,
        log_prob_key=(GROUP, "log_prob"),
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    costs = []
    for _ in range(episodes):
        with torch.no_grad():
            played = env.rollout(60, actor)
        rewards = played["next", GROUP, "reward"].squeeze(-1)
        togo = rewards.flip(0).cumsum(0).flip(0)
        advantage = (togo - togo.mean()) / (togo.std() + 1e-6)
        chance = actor.get_dist(played).log_prob(played[GROUP, "action"])
        loss = -(chance * advantage).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        costs.append(-float(rewards.sum(0).mean()))
    click.echo(
        f"{scenario_name}: mean cost {costs[0]:.2f} in episode 1, {costs[-1]:.2f} at the end"
    )
    return costs


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(n) for n in sys.argv[2:3]))
