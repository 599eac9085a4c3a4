"""Small actors and chunks for the tests of the learners."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import torch

from model.scenario import Scenario
from model.scenario.load import load_scenario
from rl.learning.collector import Chunk, Collector
from rl.learning.options import Credit
from rl.learning.torch_actor import Actor, ActorShape


@cache
def mini(slots: int = 40) -> Scenario:
    return load_scenario("mini", {"slots": slots})


def actor(seed: int = 0, *, noise: float = 0.3, **shape: Any) -> Actor:
    """An actor whose every parameter matters: none is zero."""
    torch.manual_seed(seed)
    made = Actor(ActorShape(**shape), mini().decision.rates_mbps)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
        made.cost_scale.fill_(2.5)
    return made


def chunk(
    player: Actor, *, slots: int = 23, envs: int = 3, credit: Credit = "own", piece: int = 10
) -> Chunk:
    """Slots of ``mini``; by default not a multiple of the pieces that training unrolls."""
    torch.manual_seed(1)
    collector = Collector(mini(), envs, itertools.count(7), credit, piece=piece)
    collector.collect(player, 9)
    return collector.collect(player, slots)
