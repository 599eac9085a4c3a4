"""The same runs in both worlds: how far the simulator is from the real network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from cli.ignored import refuse
from emulation.completions import offer_policies, offer_scenarios, offer_settings
from emulation.options import FiniteRange, RunOptions
from model.errors import UserError
from model.random_streams import MAX_SEED_IN_TABLES
from model.scenario.load import load_scenario, parse_overrides
from records.console import Screen, styled
from records.ownership import give_tree_to_user
from records.reader import open_result
from records.streams import one_line, say_json, stdout_for_json

if TYPE_CHECKING:
    from analysis.worlds.comparison import Gap

_OF_NEW_RUNS = (
    "policies", "seeds", "slots", "speedup", "settings", "attempts", "without_netem",
)  # fmt: skip
_POLICIES = ("self-biased", "greedy", "random", "local", "own-edge")


@click.command()
@click.argument("scenario", required=False, shell_complete=offer_scenarios)
@click.option("--from", "sources", multiple=True, metavar="RESULT",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="An emulation's result, or a folder of them, instead of new runs; repeatable.")  # fmt: skip  # noqa: E501
@click.option("--policy", "policies", multiple=True, metavar="POLICY",
              shell_complete=offer_policies,
              help=f"Repeatable.  [default: {', '.join(_POLICIES)}]")  # fmt: skip
@click.option("--seed", "seeds", multiple=True, metavar="SEED",
              type=click.IntRange(0, MAX_SEED_IN_TABLES),
              help="Repeatable.  [default: 1]")  # fmt: skip
@click.option("--slots", type=click.IntRange(1), help="Length.  [default: the scenario's]")
@click.option("--speedup", type=FiniteRange(min=0.1, max=100), default=1.0, show_default=True,
              help="Of the emulations, see './lab run --help'.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              shell_complete=offer_settings,
              help="Override a value of the scenario.")  # fmt: skip
@click.option("--attempts", type=click.IntRange(1), default=1, show_default=True,
              help="Emulate again, so many times in all, while its own verdict is 'invalid'.")  # fmt: skip  # noqa: E501
@click.option("--keep-invalid", is_flag=True, help="Compare emulations whose verdict is 'invalid'.")
@click.option("--without-netem", is_flag=True, help="As of './lab run'.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the comparisons for programs, as JSON."
)
@click.option("--brief", is_flag=True, help="Unit delays only; everything is in the files.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"),
              show_default=True, help="Folder for results; the comparison goes to gap/ in it.")  # fmt: skip  # noqa: E501
def gap(
    scenario: str | None, sources: tuple[Path, ...], out: Path, *, as_json: bool, **asked: object
) -> None:
    """Run SCENARIO in the emulation and in the simulator, and compare.

    Both worlds get the same tasks, the same F(t) and the same policy. Needs root, unless emulations
    that are there are compared: --from RESULT. An emulation that its own verdict calls invalid is
    left out. Writes gap.json, gap.csv, gap.svg and gap.png, and the runs as usual results.
    """
    # numba takes a second to load: after the arguments have been looked at.
    from cli.gap_runs import compare_all, emulate_all, emulations_in

    keep = bool(asked["keep_invalid"])
    if bool(sources) == (scenario is not None):
        raise UserError("name a SCENARIO to run, or results to compare: --from RESULT")
    if as_json:
        refuse(("brief",), "with --json, which has everything.")
    if scenario is None:
        refuse(_OF_NEW_RUNS, "with --from: the emulations are there already.")
        runs = iter(emulations_in(sources))
    else:
        runs = emulate_all(
            _options(scenario, out, asked),
            _listed(asked["policies"]) or _POLICIES,
            [int(s) for s in _listed(asked["seeds"])] or [1],
            attempts=int(str(asked["attempts"])),
            keep_invalid=keep,
        )
    with stdout_for_json(as_json):
        gaps = compare_all(runs, out, keep_invalid=keep)
        for found in gaps:
            _publish(Screen(), found, out, brief=bool(asked["brief"]))
    if as_json:
        from analysis.worlds.comparison import plain
        from analysis.worlds.report import to_dict

        say_json([plain(to_dict(found)) for found in gaps], indent=1)


def _listed(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, tuple) else []


def _options(scenario: str, out: Path, asked: dict[str, object]) -> RunOptions:
    settings = parse_overrides(_listed(asked["settings"]))
    if asked["slots"] is not None:
        settings["slots"] = asked["slots"]
    return RunOptions(
        scenario=load_scenario(scenario, settings),
        speedup=float(str(asked["speedup"])),
        out=out,
        without_netem=bool(asked["without_netem"]),
        command_line=tuple(sys.argv),
    )


def _publish(console: Screen, gap: Gap, out: Path, *, brief: bool) -> None:
    from analysis.figures.gap import draw_gap
    from analysis.style import save
    from analysis.worlds.report import write

    folder = out / "gap" / f"{gap.scenario}-{gap.slots}"
    paths = write(gap, folder)
    pairs = [(open_result(p.folders[0]), open_result(p.folders[1])) for p in gap.pairs]
    paths += save(draw_gap(pairs), folder / "quantiles")
    give_tree_to_user(out / "gap")
    _show(console, gap, brief=brief)
    console.print(f"files: {' '.join(map(one_line, paths))}", soft_wrap=True)


def _show(console: Screen, gap: Gap, *, brief: bool) -> None:
    from analysis.worlds import report
    from analysis.worlds.comparison import PARTS

    console.print()
    console.print(
        styled(f"{gap.scenario}, {gap.slots} slots: emulation against simulation", "bold")
    )
    worlds = ("emulation", "simulation", "difference")
    heading = ("unit delay, s/MB", "seeds", *worlds, "over seeds")
    _table(console, heading, report.delay_rows(gap), left=2)
    for policy in () if brief else gap.policies:
        console.print()
        console.print(styled(policy, "bold"), "means over its seeds", sep=", ")
        rows = [*report.metric_rows(gap, policy), *report.worst_rows(gap, policy)]
        _table(console, ("", *worlds), rows)
        columns = ("decided alike, ms", "alike", "tasks", "mean ΔE", "median", "90 % of |ΔE|")
        _table(console, (*columns, *PARTS), report.task_rows(gap, policy))
    console.print()
    for sentence in report.sentences(gap):
        console.print(sentence)


def _table(
    console: Screen, heading: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for k, name in enumerate(heading):
        table.add_column(name, justify="left" if k < left else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
