"""Tuning of a rule's parameters on episodes of their own: what a fair comparison takes for granted.

A rule is tuned in every scenario in which it is compared, on seeds that the comparison never uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from model.scenario import Scenario
from rl import policies
from rl.simulator.layout import Layout
from rl.simulator.run import simulate

TUNING_SEEDS = tuple(range(1000, 1012))
"""Seeds kept for tuning; evaluation must not use them."""

Params = Mapping[str, policies.Value]


@dataclass(frozen=True, slots=True)
class Trial:
    """Parameters and what they achieved: mean unit delay over the seeds, s per MB."""

    params: Params
    unit_delay: float


class Known:
    """Unit delays that were measured, by parameters and seed; this one forgets them."""

    def get(self, params: Params, seed: int) -> float | None:
        """Return what was measured; None if nothing was."""
        return None

    def add(self, params: Params, seed: int, unit_delay: float) -> None:
        """Keep what was measured, s per MB."""


def grid(choices: Mapping[str, Sequence[policies.Value]]) -> list[dict[str, policies.Value]]:
    """All combinations of the choices."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def unit_delays(
    scenario: Scenario,
    name: str,
    params: Params,
    seeds: Iterable[int],
    layout: Layout | None = None,
) -> list[float]:
    """Σ E / Σ o of a policy in the simulator, s per MB, one per seed."""
    layout = layout or Layout.of(scenario)
    return [
        simulate(
            scenario, lambda: policies.create(name, params), seed, record=False, layout=layout
        ).unit_delay
        for seed in seeds
    ]


def tune(
    scenario: Scenario,
    name: str,
    candidates: Sequence[Params],
    seeds: Sequence[int] = TUNING_SEEDS,
    known: Known | None = None,
) -> list[Trial]:
    """Try parameters on paired episodes; the best comes first.

    The candidates are halved after a third and after two thirds of the seeds. ``known`` keeps what
    was measured, so that a search that was ended early goes on.
    """
    layout = Layout.of(scenario)
    known = known or Known()
    delays: list[list[float]] = [[] for _ in candidates]
    alive = list(range(len(candidates)))
    for part in np.array_split(np.asarray(seeds), min(3, len(seeds))):
        for k in alive:
            for seed in part.tolist():
                if (delay := known.get(candidates[k], seed)) is None:
                    (delay,) = unit_delays(scenario, name, candidates[k], [seed], layout)
                    known.add(candidates[k], seed, delay)
                delays[k].append(delay)
        alive = sorted(alive, key=lambda k: float(np.mean(delays[k])))
        best, alive = alive, alive[: max(1, len(alive) // 2)]
    return [Trial(candidates[k], float(np.mean(delays[k]))) for k in best]
