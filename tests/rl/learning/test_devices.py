"""Learning on another device than the processor: what it takes there, and what comes back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from model.errors import UserError
from rl.learning import training, unroll
from rl.learning.collector import Chunk, Collector
from rl.learning.config import load_config
from rl.learning.devices import learning_device, moved
from rl.learning.learner import Learner
from rl.learning.registry import algorithms
from rl.learning.torch_actor import Question
from rl.learning.training import make_learner
from tests.rl.learning.players import actor, mini
from tests.rl.learning.pretend_device import DEVICE, Elsewhere, pretend_device
from tests.rl.learning.test_device_policy import stored

SETTINGS: dict[str, Any] = {"envs": 3, "chunk_slots": 15}
CHUNKS = 4


Make = Callable[[torch.device], Learner]


@pytest.fixture(params=algorithms())
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a learner of the algorithm on a device."""
    settings = dict(SETTINGS)
    if request.param == "student":
        settings["options.teacher"] = str(stored(actor(1), tmp_path / "teacher.npz"))

    def made(device: torch.device) -> Learner:
        monkeypatch.setattr(training, "learning_device", lambda _: device)
        return make_learner(load_config(request.param, settings), mini(), 5)

    return made


def learn(learner: Learner, chunks: int, *, goes_on: bool = False) -> list[dict[str, float]]:
    """What the learner logs of its updates; whether it is told that episodes have begun before."""
    workers = learner.rollout_workers
    collectors = [
        Collector(mini(), 3, itertools.count(7 + 50 * k), "priced", random=k)
        for k in range(workers)
    ]
    logged = []
    for k in range(chunks):
        turn = k % workers
        choose = learner.behaviour_choice()
        chunk = collectors[turn].collect(learner.behaviour_actor(turn), 15, choose)
        if goes_on:
            chunk = dataclasses.replace(chunk, fresh=False)
        logged.append(learner.update(chunk.to(learner.actor.device), turn))
    return logged


def home(state: Any) -> Any:
    """The state as it is read back from a file."""
    return tree_map(
        lambda x: (
            x.to(torch.device("cpu")) if isinstance(x, Chunk)
            else x.cpu().clone() if isinstance(x, torch.Tensor) else x
        ),
        state,
    )  # fmt: skip


def test_learns_there_as_here(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unroll, "BLOCK", 10**6)  # the other device scores all at once
    here = make(torch.device("cpu"))
    wanted = learn(here, CHUNKS)
    with pretend_device() as device:
        there = make(device)
        got = learn(there, CHUNKS)
        assert all(isinstance(p, Elsewhere) for p in there.actor.parameters())
        arrays = there.actor.arrays()
    assert got == wanted
    for name, value in here.actor.arrays().items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)


def test_a_state_goes_back_to_where_it_was(make: Make) -> None:
    with pretend_device() as device:
        first = make(device)
        learn(first, CHUNKS)
        again = make(device)
        again.load_state_dict(home(first.state_dict()))
        results = []
        for learner in (first, again):
            torch.manual_seed(3)
            results.append((learn(learner, CHUNKS, goes_on=True), learner.actor.arrays()))
    assert results[0][0] == results[1][0]
    for name, value in results[0][1].items():
        np.testing.assert_array_equal(results[1][1][name], value, err_msg=name)


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert learning_device("auto").type == learning_device("cpu").type == "cpu"
    with pytest.raises(UserError, match=r"no CUDA GPU.*device=auto"):
        learning_device("cuda")


def test_a_gpu_is_used_unless_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert learning_device("cpu").type == "cpu"
    assert torch.backends.cudnn.allow_tf32
    assert learning_device("auto").type == learning_device("cuda").type == "cuda"
    assert not torch.backends.cudnn.allow_tf32


def test_moving_keeps_what_it_moves() -> None:
    one = torch.arange(3)
    question = Question(*(one + k for k in range(6)))
    with pretend_device() as device:
        gone = moved(((one,), question, None, 7), device)
        assert isinstance(gone[1], Question)
        assert all(x.device == DEVICE for x in (*gone[0], *gone[1]))
        assert gone[2:] == (None, 7)
        back = moved(gone, torch.device("cpu"))
    assert torch.equal(back[0][0], one)
    assert all(torch.equal(a, b) for a, b in zip(back[1], question, strict=True))


def test_the_pretence_notices_what_a_gpu_would() -> None:
    here = torch.ones(3)
    with pretend_device() as device:
        there = here.to(device)
        with pytest.raises(RuntimeError, match="tensors of"):
            there + here
        with pytest.raises(RuntimeError, match="tensors of"):
            there[torch.tensor([0])]
        with pytest.raises(TypeError):
            there.numpy()
        with pytest.raises(RuntimeError, match="tensors of"):
            torch.tensor(1.0).add_(there.sum())
        assert torch.equal((there + torch.tensor(1.0)).cpu(), here + 1.0)
        assert torch.zeros(2, device=device).add_(1.0).sum().item() == 2.0
