"""Unrolling the actor over a chunk again: the numbers of when it was played, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rl.learning.collector import Chunk
from rl.learning.torch_actor import Actor, Question, Scores

BLOCK = 1024
"""Decisions scored at a time: what that takes (K · targets · head floats) stays in a processor's
cache. A GPU scores all at once."""
GROUPS = 5
"""Most lengths of sequence that the trunk is unrolled in: each costs calls, fewer cost steps."""


def unroll(actor: Actor, chunk: Chunk, chosen: Tensor) -> Scores:
    """Scores of some of a chunk's decisions; ``chosen`` are their indices, (K,)."""
    return actor.score(unroll_trunk(actor, chunk, chosen), questions(chunk, chosen))


def decisions_in(chunk: Chunk, part: Tensor) -> Tensor:
    """Indices of the decisions in some environments, in the chunk's order; ``part`` is (P,)."""
    return torch.nonzero(torch.isin(chunk.env, part)).squeeze(1)


def unroll_trunk(actor: Actor, chunk: Chunk, chosen: Tensor) -> Tensor:
    """The trunk's output at some of a chunk's decisions, (K, hidden).

    A sequence is an agent's slots in a piece of the chunk, from the state noted at its start to
    the last of the decisions, which may be well before the end of the piece; an agent without any
    there is left out. Sequences of about one length are unrolled together.
    """
    if not len(chosen):
        return chunk.agents.new_zeros(0, actor.trunk.hidden)
    rows = chunk.agents.shape[1]
    slot, agent = chunk.slot[chosen], chunk.agent[chosen]
    sequence, step = slot // chunk.piece * rows + agent, slot % chunk.piece
    lengths = _lengths(chunk, sequence, step)
    inputs = chunk.agents.flatten(0, 1)
    # Where in ``outputs`` a sequence begins, and how far its steps lie apart.
    begin, stride = torch.zeros_like(lengths), torch.zeros_like(lengths)
    outputs, total = [], 0
    for length in torch.unique(lengths).tolist():
        if not length:
            continue
        mine = torch.nonzero(lengths == length).squeeze(1)
        first = mine // rows * chunk.piece * rows + mine % rows
        steps = torch.arange(length, device=first.device)[:, None]
        states = tuple(state[:, mine] for state in chunk.begins)
        out, _ = actor.trunk(inputs[first + steps * rows], states)
        outputs.append(out.flatten(0, 1))
        begin[mine] = total + torch.arange(len(mine), device=mine.device)
        stride[mine] = len(mine)
        total += length * len(mine)
    return torch.cat(outputs).index_select(0, begin[sequence] + step * stride[sequence])


def _lengths(chunk: Chunk, sequence: Tensor, step: Tensor) -> Tensor:
    """How many slots each sequence is unrolled, (pieces * rows,); 0 where nothing was decided."""
    slots, rows = chunk.agents.shape[:2]
    pieces = -(-slots // chunk.piece)
    lengths = step.new_zeros(pieces * rows).scatter_reduce(0, sequence, step + 1, "amax")
    coarse = -(-chunk.piece // GROUPS)
    lengths = (lengths + coarse - 1) // coarse * coarse
    # Rounded up, a sequence still ends with its piece, and the last piece with the chunk.
    left = slots - chunk.piece * torch.arange(pieces, device=step.device)
    return torch.minimum(lengths, left.clamp(max=chunk.piece).repeat_interleave(rows))


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
                for own, block in zip(_blocks(state), _blocks(chosen), strict=True)
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
    leaves = [leaf.requires_grad_() for leaf in _blocks(state.detach())]
    for leaf, block in zip(leaves, _blocks(chosen), strict=True):
        loss(actor.score(leaf, questions(chunk, block)), block).backward()  # type: ignore[no-untyped-call]
    state.backward(torch.cat([leaf.grad for leaf in leaves if leaf.grad is not None]))  # type: ignore[no-untyped-call]


def _blocks(x: Tensor) -> tuple[Tensor, ...]:
    return torch.split(x, BLOCK) if x.device.type == "cpu" else (x,)
