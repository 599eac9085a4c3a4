"""Unrolling the actor over a chunk again: the numbers of when it was played, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from rl.learning.collector import Chunk
from rl.learning.networks import Actor, Question, Scores


def unroll(actor: Actor, chunk: Chunk, part: Tensor) -> tuple[Scores, Tensor]:
    """Scores of the decisions in some environments, and which decisions these are.

    The trunk starts from the states noted at the start of every piece of the chunk. A last piece
    that is shorter is filled up with zeros behind the slots that count, which changes nothing in
    these; so no sequence ever runs from one agent into the next.

    Args:
        actor: whose scores.
        chunk: what was played.
        part: environments, (P,).
    """
    envs = chunk.states.shape[1]
    agents = chunk.agents.shape[1] // envs
    mine = (part[:, None] * agents + torch.arange(agents)).flatten()
    out, length = _trunk(actor, chunk, mine)
    place = torch.full((envs,), -1)
    place[part] = torch.arange(len(part))
    chosen = torch.nonzero(place[chunk.env] >= 0).squeeze(1)
    slot = chunk.slot[chosen]
    row = place[chunk.env[chosen]] * agents + chunk.agent[chosen] % agents
    state = out[slot % length, (slot // length) * len(mine) + row]
    question = Question(*(x[chosen] for x in chunk.question))
    return actor.score(state, question), chosen


def _trunk(actor: Actor, chunk: Chunk, mine: Tensor) -> tuple[Tensor, int]:
    """Outputs (length, pieces * rows, hidden) of the trunk for the given rows, and the length."""
    slots, pieces = len(chunk.agents), len(chunk.begins)
    length = chunk.piece
    x = chunk.agents[:, mine]
    if pieces * length > slots:
        x = torch.cat([x, x.new_zeros(pieces * length - slots, *x.shape[1:])])
    x = x.view(pieces, length, len(mine), -1).transpose(0, 1).flatten(1, 2)
    begin = tuple(
        torch.cat([state[k][:, mine] for state in chunk.begins], dim=1)
        for k in range(len(chunk.begins[0]))
    )
    return actor.trunk(x, begin)[0], length
