"""Unrolling the actor over a chunk again: the numbers of when it was played, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rl.learning.collector import Chunk
from rl.learning.networks import Actor, Question, Scores

BLOCK = 1024
"""Decisions scored at a time: what that takes (K · targets · head floats) stays in the cache."""


def unroll(actor: Actor, chunk: Chunk, part: Tensor) -> tuple[Scores, Tensor]:
    """Scores of the decisions in some environments, and which decisions these are.

    Args:
        actor: whose scores.
        chunk: what was played.
        part: environments, (P,).
    """
    state, chosen = unroll_trunk(actor, chunk, part)
    return actor.score(state, questions(chunk, chosen)), chosen


def unroll_trunk(actor: Actor, chunk: Chunk, part: Tensor) -> tuple[Tensor, Tensor]:
    """The trunk's output at each decision in some environments, and which decisions these are.

    The trunk starts from the states noted at the start of every piece of the chunk. A last piece
    that is shorter is filled up with zeros behind the slots that count, which changes nothing in
    these; so no sequence ever runs from one agent into the next.
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
    return out[slot % length, (slot // length) * len(mine) + row], chosen


def questions(chunk: Chunk, chosen: Tensor) -> Question:
    """Some of a chunk's decisions."""
    return Question(*(x[chosen] for x in chunk.question))


def scored_in_blocks(
    actor: Actor,
    chunk: Chunk,
    state: Tensor,
    chosen: Tensor,
    take: Callable[[Scores], Tensor],
) -> Tensor:
    """What ``take`` makes of the scores, block by block; without gradients.

    Arguments as of ``backward_in_blocks``.
    """
    with torch.no_grad():
        return torch.cat(
            [
                take(actor.score(own, questions(chunk, block)))
                for own, block in zip(
                    torch.split(state, BLOCK), torch.split(chosen, BLOCK), strict=True
                )
            ]
        )


def backward_in_blocks(
    actor: Actor,
    chunk: Chunk,
    state: Tensor,
    chosen: Tensor,
    loss: Callable[[Scores, Tensor], Tensor],
) -> None:
    """Gradients of a loss that is a sum over decisions, block by block.

    The same gradients as of the whole at once, but memory traffic decides the time of the head:
    its layers are narrow and candidates are many.

    Args:
        actor: whose head scores.
        chunk: what was played.
        state: the trunk's outputs at the decisions, (K, hidden), with their graph.
        chosen: which decisions, (K,).
        loss: of a block's scores and of the block's indices into the chunk.
    """
    leaves = [leaf.requires_grad_() for leaf in torch.split(state.detach(), BLOCK)]
    for leaf, block in zip(leaves, torch.split(chosen, BLOCK), strict=True):
        loss(actor.score(leaf, questions(chunk, block)), block).backward()  # type: ignore[no-untyped-call]
    state.backward(torch.cat([leaf.grad for leaf in leaves if leaf.grad is not None]))  # type: ignore[no-untyped-call]


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
