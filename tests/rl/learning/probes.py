"""Tiny worlds whose best return is known: each asks for one thing that a learner must do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl.learning.collector import Chunk
from rl.learning.critic_input import STATE_COLUMNS
from rl.learning.torch_actor import Actor, Question
from rl.policies.action_selection import Choose, Chooser, expected_value, log_prob, log_softmax
from rl.policies.features import AGENT_COLUMNS, CANDIDATE_COLUMNS, Candidates

ENVS, AGENTS, SLOTS = 32, 2, 5

Charge = Callable[[Tensor, Tensor], Tensor]
"""Charges (ENVS, AGENTS) of the decisions from cues and targets of that shape."""


def selfish(_: Tensor, target: Tensor) -> Tensor:
    """The second target is free, the first costs 1: soon learnt, or a sign is wrong."""
    return 1.0 - target.float()


def memory(cue: Tensor, target: Tensor) -> Tensor:
    """Free is the target that the cue named, which was shown in the first slot only."""
    return (cue != target).float()


def coordination(_: Tensor, target: Tensor) -> Tensor:
    """Free where the two agents go to different targets: no agent can be right by itself."""
    return (target[:, :1] == target[:, 1:]).float().expand(ENVS, AGENTS)


def play(actor: Actor, charge: Charge, choose: Choose | None = None) -> Chunk:
    """One episode of every environment: a cue in the first slot, a decision in the last but one.

    A last decision costs nothing: Q-learning leaves decisions without a successor out.
    """
    cue = torch.randint(2, (ENVS, AGENTS))
    rows = torch.zeros(SLOTS, ENVS, AGENTS, len(AGENT_COLUMNS))
    rows[0, ..., 0] = 2.0 * cue - 1.0
    rows[..., 1] = torch.arange(AGENTS) - 0.5
    rows = rows.flatten(1, 2)
    begin = actor.trunk.start(ENVS * AGENTS)
    count = ENVS * AGENTS
    agent = torch.arange(count).repeat(2)
    slot = torch.tensor([SLOTS - 2, SLOTS - 1]).repeat_interleave(count)
    features = torch.zeros(2 * count, 2, len(CANDIDATE_COLUMNS))
    features[:, 0, 2] = features[:, 1, 3] = 1.0  # both edges: no kind is preferred
    nothing = torch.zeros(2 * count, 2)
    question = Question(features, nothing == 0.0, nothing, nothing, nothing, torch.zeros(2 * count))
    none: NDArray[np.float32] = nothing.numpy()
    candidates = Candidates(none == 0.0, features.numpy(), *(4 * [none]))
    network = actor.network()
    with torch.no_grad():
        out, _ = actor.trunk(rows, begin)
    scores = network.score(network.lift(out[slot, agent].numpy()), candidates, none[:, :1])
    choose = choose or Chooser("sample", actor.rates_mbps)
    chosen = choose(scores, candidates, np.random.default_rng(int(torch.randint(2**31, ()))))
    target, logs = torch.from_numpy(chosen.target), log_softmax(scores.logits)
    expected = expected_value(logs, scores.values)
    charged = torch.zeros(2 * count)
    charged[:count] = charge(cue, target[:count].view(ENVS, AGENTS)).flatten()
    return Chunk(
        agents=rows,
        begins=begin,
        piece=SLOTS,
        states=torch.zeros(SLOTS + 1, ENVS, STATE_COLUMNS),
        fresh=True,
        slot=slot,
        env=agent // AGENTS,
        agent=agent,
        question=question,
        target=target,
        rate=torch.from_numpy(chosen.rate),
        log_prob=torch.from_numpy(log_prob(logs, chosen)).float(),
        delay_s=charged,
        charge=charged,
        expected=torch.from_numpy(expected).float() * actor.cost_scale,
    )
