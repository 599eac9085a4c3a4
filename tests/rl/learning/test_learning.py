"""The arithmetic of learning: what public implementations got wrong has a test each."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from model.scenario.load import load_scenario
from rl.learning import unroll
from rl.learning.collector import Collector, log_prob
from rl.learning.credit import _pushed_back, delays_s
from rl.learning.critic_input import STATE_COLUMNS
from rl.learning.critics import Critics
from rl.learning.madqn import Dqn, next_decisions
from rl.learning.options import DqnOptions, PpoOptions
from rl.learning.ppo import Ppo
from rl.learning.returns import RunningScale, generalised_advantages
from rl.simulator import state_arrays as ix
from tests.rl.learning.players import actor, chunk, mini

SHAPES: list[dict[str, Any]] = [{"cell": "gru"}, {"cell": "lstm", "trunk": (32, 96)}]


def ppo(seed: int = 0, combination: Any = "mean", **options: Any) -> Ppo:
    player = actor(seed, noise=0.05)
    return Ppo(player, Critics(combination, 5, STATE_COLUMNS), PpoOptions(**options), seed)


@pytest.mark.parametrize(("discount", "trace"), [(0.0, 0.95), (0.99, 0.95), (0.9, 1.0), (0.9, 0.0)])
def test_generalised_advantages_by_their_definition(discount: float, trace: float) -> None:
    rewards, values = torch.randn(7, 2), torch.randn(8, 2)
    got = generalised_advantages(rewards, values, discount, trace)
    for t in range(7):
        delta = [rewards[k] + discount * values[k + 1] - values[k] for k in range(t, 7)]
        wanted = sum(((discount * trace) ** k * d for k, d in enumerate(delta)), torch.zeros(2))
        torch.testing.assert_close(got[t], wanted)


def test_the_last_value_is_bootstrapped() -> None:
    rewards, values = torch.zeros(3, 1), torch.zeros(4, 1)
    values[-1] = 10.0
    got = generalised_advantages(rewards, values, 0.5, 1.0)
    torch.testing.assert_close(got[:, 0], torch.tensor([1.25, 2.5, 5.0]))


def test_running_scale_restores_what_it_normalised() -> None:
    scale = RunningScale()
    torch.testing.assert_close(scale.normalised(torch.ones(2)), torch.ones(2))
    x = torch.randn(1000) * 3.0 + 7.0
    scale.update(x)
    mean, deviation = scale.moments
    assert mean == pytest.approx(float(x.mean()), abs=1e-3)
    assert deviation == pytest.approx(float(x.std()), abs=1e-2)
    torch.testing.assert_close(scale.restored(scale.normalised(x)), x)
    scale.update(torch.zeros(0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("slots", "piece"), [(20, 10), (23, 10), (7, 10), (14, 13), (23, 7)])
def test_pieces_equal_steps(shape: dict[str, Any], slots: int, piece: int) -> None:
    """Also where the chunk is no multiple of the pieces: no sequence may run into another agent."""
    player = actor(**shape)
    played = chunk(player, slots=slots, piece=piece)
    with torch.no_grad():
        scores = unroll.unroll(player, played, torch.arange(len(played.slot)))
        logs, _ = log_prob(scores, played.target, played.rate)
    torch.testing.assert_close(logs, played.log_prob, atol=2e-5, rtol=1e-5)
    expected = (scores.logits.softmax(dim=-1) * scores.values).sum(dim=-1) * player.cost_scale
    torch.testing.assert_close(expected, played.expected, atol=2e-5, rtol=1e-5)


def test_a_part_of_the_environments_gives_the_same_scores() -> None:
    player = actor()
    played = chunk(player)
    with torch.no_grad():
        everything = unroll.unroll(player, played, torch.arange(len(played.slot)))
        chosen = unroll.decisions_in(played, torch.tensor([2, 0]))
        some = unroll.unroll(player, played, chosen)
    assert played.env[chosen].tolist() == [k for k in played.env.tolist() if k != 1]
    torch.testing.assert_close(some.values, everything.values[chosen], atol=1e-5, rtol=1e-5)


def test_the_trunk_is_unrolled_no_further_than_decisions_need() -> None:
    player = actor()
    played = chunk(player, slots=23)
    early = torch.nonzero((played.slot % 10 < 2) & (played.agent == played.agent[0])).squeeze(1)
    sizes = []
    hook = player.trunk.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[:2]))
    with hook:
        some = unroll.unroll_trunk(player, played, early)
    assert 1 <= sum(slots * rows for slots, rows in sizes) <= 3 * 2
    everything = unroll.unroll_trunk(player, played, torch.arange(len(played.slot)))
    torch.testing.assert_close(some, everything[early], atol=1e-5, rtol=1e-5)


def test_gradients_in_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    player = actor()
    played = chunk(player)
    everything = torch.arange(len(played.slot))
    scores = unroll.unroll(player, played, everything)
    log_prob(scores, played.target, played.rate)[0].sum().backward()
    wanted = {name: p.grad for name, p in player.named_parameters()}
    player.zero_grad(set_to_none=True)
    monkeypatch.setattr(unroll, "BLOCK", 8)
    assert len(everything) % 8 != 0  # a last block that is shorter
    state = unroll.unroll_trunk(player, played, everything)
    unroll.backward_in_blocks(
        player, played, state, everything,
        lambda part, block: log_prob(part, played.target[block], played.rate[block])[0].sum(),
    )  # fmt: skip
    for name, parameter in player.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], atol=1e-4, rtol=1e-4)


def test_hidden_states_start_at_zero_with_every_episode_only() -> None:
    player = actor()
    collector = Collector(mini(20), 2, itertools.count(1), "own")
    first = collector.collect(player, 10)
    second = collector.collect(player, 10)
    third = collector.collect(player, 10)
    assert [c.fresh for c in (first, second, third)] == [True, False, True]
    assert not first.begins[0].any()
    assert second.begins[0].any()
    assert not third.begins[0].any()


def test_the_ratio_is_one_before_the_first_step() -> None:
    learner = ppo(epochs=1, minibatches=1, learning_rate=1e-8, prior_learning_rate=0.0)
    played = chunk(learner.actor)
    logged = learner.update(played)
    assert logged["clipped_share"] == 0.0
    assert logged["kl"] == pytest.approx(0.0, abs=1e-6)


def test_permuted_candidates_permute_the_scores() -> None:
    player = actor()
    played = chunk(player)
    question = played.question
    order = torch.randperm(question.exists.shape[1])
    moved = question._replace(
        **{
            n: getattr(question, n)[:, order]
            for n in ("features", "exists", "cost", "delay", "toll")
        }
    )
    state = torch.randn(len(played.slot), player.shape.hidden)
    with torch.no_grad():
        before, after = player.score(state, question), player.score(state, moved)
    torch.testing.assert_close(before.logits[:, order], after.logits)
    torch.testing.assert_close(before.values[:, order], after.values)


def test_padded_targets_are_never_chosen() -> None:
    player = actor(noise=1.0)
    played = chunk(player)
    rows = torch.arange(len(played.target))
    assert played.question.exists[rows, played.target].all()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_critics_side_by_side_are_each_its_own_network(cell: Any) -> None:
    """Values, last states and gradients of the stacked ones are those of torch's own layers."""
    critics = Critics("mean", 3, STATE_COLUMNS, (16, 24), cell, 8)
    x = torch.randn(6, 4, STATE_COLUMNS)
    begin = tuple(torch.randn(3, 4, 8) for _ in critics.start(4))
    values, last = critics(x, begin)
    values.square().sum().backward()
    got = {name: p.grad.clone() for name, p in critics.named_parameters() if p.grad is not None}
    critics.zero_grad()
    for k, critic in enumerate(critics.members):
        out, state = critic.trunk(x, tuple(s[k : k + 1].contiguous() for s in begin))  # type: ignore[operator]
        alone = critic.out(out).squeeze(-1)  # type: ignore[operator]
        alone.square().sum().backward()
        torch.testing.assert_close(values[k], alone)
        for mine, whole in zip(state, last, strict=True):
            torch.testing.assert_close(mine[0], whole[k])
    for name, parameter in critics.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, atol=1e-4, rtol=1e-4)


def test_equal_critics_are_one_critic() -> None:
    five = Critics("mean", 5, STATE_COLUMNS)
    for critic in five.members:
        critic.load_state_dict(five.members[0].state_dict())
    one = Critics("single", 5, STATE_COLUMNS)
    one.members[0].load_state_dict(five.members[0].state_dict())
    assert len(one.members) == 1
    x = torch.randn(4, 3, STATE_COLUMNS)
    values, _ = five(x, five.start(3))
    alone, _ = one(x, one.start(3))
    torch.testing.assert_close(five.combine(values), one.combine(alone))
    five.combination = "min"
    torch.testing.assert_close(five.combine(values), one.combine(alone))


def test_critics_begin_different_and_learn_at_different_rates() -> None:
    learner = ppo()
    first = [c.trunk.first.weight for c in learner.critics.members]  # type: ignore[union-attr]
    assert not torch.equal(first[0], first[1])  # type: ignore[arg-type]
    rates = [group["lr"] for group in learner.critic_optimiser.param_groups]
    assert len(set(rates)) == 5
    low = Critics("min", 5, STATE_COLUMNS)
    x = torch.randn(2, 3, STATE_COLUMNS)
    values, _ = low(x, low.start(3))
    assert (low.combine(values) <= values).all()


def test_everything_is_trained() -> None:
    """A frozen network, trunk or prior would pass unnoticed for long."""
    learner = ppo(epochs=2)
    before = {n: p.clone() for n, p in learner.actor.named_parameters()}
    critics = copy.deepcopy(learner.critics.state_dict())
    learner.update(chunk(learner.actor))
    still = [n for n, p in learner.actor.named_parameters() if torch.equal(p, before[n])]
    assert not still
    moved = learner.critics.state_dict()
    assert not [n for n in critics if torch.equal(critics[n], moved[n])]


@pytest.mark.parametrize("credit", ["own", "team", "priced"])
def test_charges(credit: Any) -> None:
    played = chunk(actor(noise=0.05), slots=30, credit=credit)
    own = mini().decision.alpha * played.delay_s
    if credit == "own":
        torch.testing.assert_close(played.charge, own)
    elif credit == "priced":
        assert (played.charge >= own - 1e-5).all()
        assert (played.charge > own + 1e-3).any()
    else:
        place = played.slot * 3 + played.env
        for p in place.unique():
            mine = place == p
            torch.testing.assert_close(
                played.charge[mine], own[mine].mean().expand(int(mine.sum()))
            )


def test_externality_is_what_others_would_have_saved() -> None:
    """Lindley's recursion with and without each task in turn."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        arrival = np.cumsum(rng.exponential(1.0, 12))
        service = rng.exponential(0.8, 12)

        def waits(arrival: Any, service: Any) -> Any:
            free, result = 0.0, []
            for a, s in zip(arrival, service, strict=True):
                result.append(max(free - a, 0.0))
                free = max(free, a) + s
            return np.array(result)

        wait = waits(arrival, service)
        got = _pushed_back(np.zeros(12, dtype=np.int64), wait, service)
        for i in range(12):
            without = waits(np.delete(arrival, i), np.delete(service, i))
            assert got[i] == pytest.approx((np.delete(wait, i) - without).sum(), abs=1e-9)


def test_next_decisions_are_the_same_agents() -> None:
    played = chunk(actor())
    successor = next_decisions(played)
    seen: dict[int, int] = {}
    for k in reversed(range(len(successor))):
        agent = int(played.agent[k])
        assert int(successor[k]) == seen.get(agent, -1)
        seen[agent] = k


def test_the_target_network_is_renewed_whole() -> None:
    player = actor(cell="lstm", trunk=(32, 96), prior=False, augmented=False)
    learner = Dqn(player, DqnOptions(updates=1, target_every=3, epsilon_slots=10), 0)
    played = chunk(player)
    for step in range(1, 4):
        learner.update(played, 0)
        state, target = learner.actor.state_dict(), learner.target.state_dict()
        different = [n for n in state if not torch.equal(state[n], target[n])]
        recurrent = [n for n in different if "memory" in n]
        assert bool(recurrent) == (step < 3), "the recurrent layer is renewed with the rest"
        assert bool(different) == (step < 3)


def test_exploration_ends() -> None:
    learner = Dqn(actor(prior=False), DqnOptions(updates=1, epsilon_slots=60), 0)
    assert learner.epsilon == 1.0
    played = chunk(learner.actor)
    learner.update(played, 0)
    assert learner.epsilon == pytest.approx(0.05)


def test_pending_tasks_are_charged_with_what_is_to_come() -> None:
    """Large tasks, seen again when all results are known: no kind of target may look cheap."""
    scenario = load_scenario("case1", {"slots": 60})
    collector = Collector(scenario, 4, itertools.count(1), "own")
    player = actor(noise=0.0)
    collector.collect(player, 20)
    played = collector.collect(player, 10)
    batch = collector.batch
    env = played.env.numpy()
    born = batch.moving.task[:, :, ix.BORN]
    order, task = np.nonzero((born >= 20.0) & (born < 30.0))
    assert len(task) == len(env)
    now = delays_s(batch, order, task)
    away = batch.moving.task_ref[order, task, ix.TARGET] > 0
    pending = np.isnan(batch.moving.task[order, task, ix.ARRIVED]) & away
    assert pending.sum() > 10
    collector.collect(player, 30)
    later = delays_s(batch, order, task)
    error = now[pending] - later[pending]
    assert abs(np.mean(error)) < 0.2 * np.mean(later[pending])


def test_the_end_of_a_chunk_is_not_learnt_from() -> None:
    learner = ppo(epochs=1, minibatches=1, settle=5)
    played = chunk(learner.actor, slots=12)
    targets = learner._targets(played, learner.critics.start(3))
    assert torch.equal(targets.settled > 0, played.slot < 7)
    changed = dataclasses.replace(
        played, charge=torch.where(played.slot < 7, played.charge, played.charge * 100.0)
    )
    twin = ppo(epochs=1, minibatches=1, settle=5, local_baseline=False, discount=0.0)
    other = ppo(epochs=1, minibatches=1, settle=5, local_baseline=False, discount=0.0)
    for one, what in ((twin, played), (other, changed)):
        one.charges.update(torch.tensor([1.0, 5.0]))
        one.charges.beta = 1.0  # the same scale for both
        one.update(what)
    weights = twin.actor.state_dict(), other.actor.state_dict()
    assert all(torch.allclose(weights[0][n], weights[1][n], atol=1e-5) for n in weights[0])
