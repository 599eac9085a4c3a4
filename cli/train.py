"""Train a policy for a scenario in the simulator: m2ppo, mappo, maa3c, madqn, or your own."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TimeRemainingColumn,
)
from rich.table import Table

from cli.interrupts import interruptible
from emulation.completions import items, offer_scenarios
from experiments.sweep.worker_pool import in_parallel
from model.errors import INTERRUPTED, UserError
from model.scenario import Scenario
from model.scenario.load import load_scenario, parse_assignments
from records.console import Screen, screen_of_tables, words
from records.ownership import give_tree_to_user
from records.provenance import command_text
from records.streams import one_line, say, say_json, stdout_for_json
from rl.learning.config import load_config, options_of
from rl.learning.options import MAX_TRAINING_SEED, TrainingConfig
from rl.learning.registry import algorithms

_SAVING = "saving; Ctrl-C again ends at once, without"


@dataclass(frozen=True, slots=True)
class Job:
    """One training run."""

    config: TrainingConfig
    scenario: Scenario
    seed: int
    folder: Path
    command: str
    fresh: bool


ALGO_HELP = f"One of {', '.join(algorithms())}; or module:Class for a learner of your own."


def offer_algorithms(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return what a shell completes ``--algo`` to."""
    return [CompletionItem(name) for name in algorithms() if name.startswith(begun)]


def _offer_options(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the options of the algorithm that is named on the line; of a user's own none."""
    algorithm = ctx.params.get("algorithm") or "m2ppo"
    if ":" in algorithm:
        return []
    try:
        found = options_of(load_config(algorithm, {}, None))
    except UserError:
        return []
    return items([(option.key, option.kind) for option in found], begun)


@click.command()
@click.argument("scenario", required=False, shell_complete=offer_scenarios)
@click.option("--algo", "algorithm", metavar="ALGO", default="m2ppo", show_default=True,
              shell_complete=offer_algorithms, help=ALGO_HELP)  # fmt: skip
@click.option("--seed", "seeds", type=click.IntRange(0, MAX_TRAINING_SEED), multiple=True,
              default=(1,), show_default=True,
              help="Of networks and episodes; repeatable.")  # fmt: skip
@click.option("--slots", type=click.IntRange(1), help="Environment slots to train for (1 s each). "
              "Default: the algorithm's.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              shell_complete=_offer_options,
              help="Override a hyper-parameter, e.g. credit=own or options.clip=0.2.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Processes, of one thread each, for several seeds.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/training"),
              show_default=True, help="Runs lie in OUT/SCENARIO/ALGO/seed<k>.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Start anew where a run has begun; else it goes on.")
@click.option("--options", "list_options", is_flag=True,
              help="List the algorithm's options with type, range, value and meaning.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print the runs' ends, or --options, for programs, as JSON.")  # fmt: skip
def train(  # noqa: PLR0913 - the options, by name
    scenario: str | None,
    algorithm: str,
    seeds: tuple[int, ...],
    slots: int | None,
    settings: tuple[str, ...],
    jobs: int,
    out: Path,
    *,
    fresh: bool,
    list_options: bool,
    as_json: bool,
) -> int:
    """Train a policy for SCENARIO.

    The run's folder gets the policy that was best on held-out episodes (best.npz), the log as JSON
    lines and for TensorBoard, and a state from which the same command goes on, bit for bit. Ctrl-C
    saves and ends. Try the policy: ./lab run SCENARIO --policy ALGO --param checkpoint=FILE, with
    'learned' for ALGO if the learner is your own.
    """
    overrides: dict[str, Any] = parse_assignments(settings, "--set", "options.clip=0.2")
    if slots is not None:
        overrides["slots"] = slots
    if list_options:
        config = load_config(algorithm, overrides, load_scenario(scenario) if scenario else None)
        if as_json:
            say_json([asdict(option) for option in options_of(config)], indent=1)
        else:
            _show_options(config)
        return 0
    if scenario is None:
        raise click.UsageError("Missing argument 'SCENARIO'.")
    resolved = load_scenario(scenario)
    config = load_config(algorithm, overrides, resolved)
    folder = algorithm.replace(":", "-")
    work = [
        Job(config, resolved, seed, out / resolved.name / folder / f"seed{seed}",
            command_text(sys.argv), fresh)
        for seed in dict.fromkeys(seeds)
    ]  # fmt: skip
    with stdout_for_json(as_json):
        finished = _one(work[0]) if len(work) == 1 else _several(work, jobs)
    give_tree_to_user(out)
    if as_json:
        say_json({"finished": finished, "runs": [_end_of(job) for job in work]}, indent=1)
    else:
        for job in work:
            say(one_line(job.folder / "best.npz"))
    return 0 if finished else INTERRUPTED


def _end_of(job: Job) -> dict[str, Any]:
    """Return how far a run has come and its best policy; from its card, for programs."""
    try:
        card = json.loads((job.folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it was ended before it had saved anything
        card = {}
    best = job.folder / "best.npz"
    kept = ("scenario", "algorithm", "slots", "cpu_s", "wall_s", "best")
    return {
        "seed": job.seed,
        "folder": str(job.folder.absolute()),
        "checkpoint": str(best.absolute()) if best.is_file() else None,
        **{name: card.get(name) for name in kept},
    }


def _show_options(config: TrainingConfig) -> None:
    """Print every option: its name as ``--set`` takes it, type, range, value, meaning."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("KEY", "type", "range", "default", "meaning"):
        table.add_column(name, overflow="fold")
    for option in options_of(config):
        value = json.dumps(option.value)
        table.add_row(option.key, option.kind, option.limits, value, option.text)
    screen_of_tables().print(table)


def _several(work: list[Job], jobs: int) -> bool:
    done = []
    for k, (finished, line) in in_parallel(_quietly, work, jobs):
        say(f"seed {work[k].seed}: {line}")
        done.append(finished)
    return all(done)


def _quietly(job: Job) -> tuple[bool, str]:
    """A run in a process of its own: no display, and the parent decides about Ctrl-C."""
    training = _prepare(job)
    finished = training.run(lambda *_: None)
    best = training.best
    return finished, f"{best['unit_delay']:.4f} s/MB held out, by {best['choice']}"


def _prepare(job: Job) -> Any:
    # torch takes seconds to load, which a wrong option need not wait for.
    from rl.learning.training import Training

    if job.fresh:
        shutil.rmtree(job.folder, ignore_errors=True)
    training = Training(job.config, job.scenario, job.seed, job.folder, job.command)
    if training.resume():
        if training.slots >= job.config.slots:
            say(f"{job.folder}: trained for {training.slots} slots already", err=True)
    elif job.folder.is_dir() and any(job.folder.iterdir()):
        raise UserError(f"{job.folder}: there, but no state to go on from; --fresh starts anew")
    return training


def _one(job: Job) -> bool:
    training = _prepare(job)
    columns = (
        words("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    bars = Progress(*columns, console=Screen(stderr=True))
    with bars, interruptible(bars.console.print, _SAVING) as asked:
        bar = bars.add_task("slots", total=job.config.slots, completed=training.slots)

        def show(slots: int, row: dict[str, float]) -> None:
            best = training.best["unit_delay"]
            text = f"s/MB now {row['unit_delay']:.3f}, best {best:.3f}; slots"
            bars.update(bar, completed=slots, description=text)

        finished: bool = training.run(show, should_stop=asked)
    return finished
