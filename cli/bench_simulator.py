"""Measure the simulator: its speed, its accuracy, and the PettingZoo environment on top of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from rich.table import Table

from model.scenario.load import load_scenario
from records.console import Screen
from records.streams import say

if TYPE_CHECKING:
    from model.scenario import Scenario

CELLS = ((3, (1, 16, 256)), (6, (64,)), (12, (64,)), (24, (16,)), (66, (4,)))
"""Cells of the enlarged scenario, and how many environments of it are run side by side."""


@click.command()
@click.argument("scenario", default="case3")
@click.option("--slots", type=click.IntRange(30), default=100, show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True,
              help="The best of so many runs: others share this machine.")  # fmt: skip
def simulator(scenario: str, slots: int, repeat: int) -> None:
    """Environment slots per CPU-second of one thread, over batch size and number of devices.

    With decisions given (70 % at home, 20 % own edge, 10 % anywhere) and pings. Ratio: to the plain
    Python version of the same model that the tests compare with, in the same run.
    """
    from benchmarks.simulator_bench import enlarged, layout_of, measure_speed

    resolved = load_scenario(scenario, {"slots": slots})
    plain = _plain_speed(resolved)
    table = Table("cells", "devices", "environments", "tasks/slot", "slots / CPU-s",
                  "device steps / CPU-s", "ratio to plain", box=None, padding=(0, 1))  # fmt: skip
    for cells, sizes in CELLS:
        larger = enlarged(resolved, cells)
        layout = layout_of(larger)
        for size in sizes:
            runs = [measure_speed(larger, size, layout) for _ in range(repeat)]
            best = max(runs, key=lambda run: run.slots_per_s)
            first = cells == CELLS[0][0]
            table.add_row(
                *(str(cells), str(best.devices), str(size), f"{best.tasks_per_slot:.1f}"),
                *(f"{best.slots_per_s:,.0f}", f"{best.device_slots_per_s:,.0f}"),
                f"{best.slots_per_s / plain:,.0f}" if first else "",
            )
    table.add_row("3", "", "plain", "", f"{plain:,.0f}", "", "1")
    Screen().print(table)


def _plain_speed(scenario: Scenario) -> float:
    from benchmarks.reference import Reference
    from benchmarks.simulator_bench import decide
    from model.packet_sizes import WIRE_OVERHEAD
    from rl.simulator.batch import PIECE_MB, Batch

    batch = Batch(scenario, [0])
    decide(batch)
    reference = Reference(scenario, 0, PIECE_MB, WIRE_OVERHEAD)
    begin = time.process_time()
    reference.run(batch.targets[0], batch.rates[0])
    return scenario.slots / (time.process_time() - begin)


@click.command()
@click.argument("scenarios", nargs=-1, metavar="SCENARIO…")
@click.option("--policy", "chosen", multiple=True, default=("self-biased", "greedy", "random"),
              show_default=True)  # fmt: skip
@click.option("--slots", type=click.IntRange(10), default=150, show_default=True)
@click.option("--episodes", type=click.IntRange(1), default=8, show_default=True)
def accuracy(
    scenarios: tuple[str, ...], chosen: tuple[str, ...], slots: int, episodes: int
) -> None:
    """What the size of the parts in which data travel does to delays, and what it costs.

    Against parts of 0.005 MB, on the same decisions, in case1, case2, case3 or each SCENARIO.
    """
    from benchmarks.simulator_bench import measure_accuracy
    from rl.simulator.batch import PIECE_MB

    table = Table("scenario", "policy", "UD, s/MB", "part, MB", "UD error", "worst episode",
                  "per task", "slots / CPU-s", box=None, padding=(0, 1))  # fmt: skip
    for name in scenarios or ("case1", "case2", "case3"):
        scenario = load_scenario(name, {"slots": slots})
        for policy in chosen:
            pieces = (PIECE_MB / 2, PIECE_MB, 1.5 * PIECE_MB, 2 * PIECE_MB, 4 * PIECE_MB)
            truth, found = measure_accuracy(scenario, policy, pieces, range(episodes))
            for k, row in enumerate(found):
                head = (name, policy, f"{truth:.3f}") if k == 0 else ("", "", "")
                table.add_row(
                    *(*head, f"{row.piece_mb:g}", f"{100 * row.error:+.2f} %"),
                    *(f"{100 * row.worst:.2f} %", f"{100 * row.task_error:.2f} %"),
                    f"{row.slots_per_s:,.0f}",
                    style="bold" if row.piece_mb == PIECE_MB else None,
                )
    Screen().print(table)


@click.command()
@click.argument("scenario", default="case3")
@click.option("--steps", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True)
def environment(scenario: str, steps: int, repeat: int) -> None:
    """Steps per CPU-second of the PettingZoo environment, all agents acting; the best of some runs.

    A step is a slot: observations, masks, rewards and infos of all agents included.
    """
    from benchmarks.simulator_bench import measure_environment

    resolved = load_scenario(scenario, {"slots": steps + 10})
    runs = [measure_environment(resolved, steps) for _ in range(repeat)]
    agents, best = max(runs, key=lambda run: run[1])
    say(f"{resolved.name}: {agents} agents, {best:,.0f} steps / CPU-s")
