"""List the policies: their parameters, what they see, for what they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from emulation.completions import offer_policies
from records.console import screen_of_tables, styled
from records.streams import one_line, say, say_json

if TYPE_CHECKING:
    from rl.policy_descriptions import PolicyDescription, ShippedCheckpoint


@click.command()
@click.argument("name", required=False, shell_complete=offer_policies)
@click.option("--json", "as_json", is_flag=True, help="Print it for programs, as JSON.")
def policies(name: str | None, as_json: bool) -> None:
    """List the policies that come with the lab, or describe policy NAME.

    What a policy sees decides where it can run: one that decides by what its device observes runs
    in both worlds, the others in the simulator only. NAME may be one of your own, module:Class.
    """
    from rl.policies import names
    from rl.policy_descriptions import describe

    if name is None:
        found = [describe(one) for one in names()]
        if as_json:
            say_json([asdict(one) for one in found], indent=1)
        else:
            _show_all(found)
    elif ":" in name:
        _show_own(name, as_json=as_json)
    else:
        _show_one(describe(name), as_json=as_json)


def _show_all(found: Sequence[PolicyDescription]) -> None:
    from rich.table import Table

    from rl.policy_descriptions import SEES

    console = screen_of_tables()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("policy", no_wrap=True)
    for heading in ("sees", "parameters (defaults)", "trained for"):
        table.add_column(heading, overflow="fold")
    for one in found:
        # A learner's checkpoint is in the last column.
        given = [p for p in one.parameters if not (one.learned and p.default == "")]
        params = ", ".join(f"{p.name}={_spelled(p.default)}" for p in given)
        trained = ", ".join(one.trained_for) or ("nothing yet" if one.learned else "–")
        table.add_row(styled(one.name, "bold"), one.needs, params or "–", trained)
    console.print(table)
    console.print()
    for needs, words in SEES.items():
        where = "both worlds" if needs == "observation" else "the simulator only"
        console.print(f"{needs}: {words}; {where}", soft_wrap=True)
    console.print("./lab policies NAME describes one; ./lab new policy NAME begins your own.")


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show_one(found: PolicyDescription, *, as_json: bool) -> None:
    from rl.policy_descriptions import SEES, checkpoints

    shipped = checkpoints(found.name)
    if as_json:
        say_json({**asdict(found), "checkpoints": [asdict(one) for one in shipped]}, indent=1)
        return
    console = screen_of_tables()
    console.print(styled(found.name, "bold"))
    console.print(f"{found.text}\n")
    console.print(f"sees: {SEES[found.needs]} ({found.needs})")
    console.print(f"runs in: {' and '.join(found.worlds)}")
    if found.parameters:
        rows = [(p.name, p.kind, _default(found, p.default), p.meaning) for p in found.parameters]
        console.print()
        console.print(_table(("--param", "type", "default", "meaning"), rows))
    if found.learned:
        console.print()
        _show_checkpoints(found, shipped)


def _default(found: PolicyDescription, value: Any) -> str:
    if value != "":
        return _spelled(value)
    return "see meaning" if found.learned else '""'


def _show_checkpoints(found: PolicyDescription, shipped: Sequence[ShippedCheckpoint]) -> None:
    console = screen_of_tables()
    if not shipped:
        train = f"./lab train SCENARIO --algo {found.name}"
        console.print(f"No checkpoint of it is shipped: {train}, then --param checkpoint=FILE.")
        return
    rows = [
        (one.scenario, str(one.seed), f"{one.held_out:.3f}", "yes" if one.default else "")
        for one in shipped
    ]
    headings = ("trained for", "seed", "UD held out, s/MB", "default")
    console.print(_table(headings, rows, right=(1, 2)))
    console.print(f"files: {one_line(shipped[0].file.rpartition('/')[0].rpartition('/')[0])}/",
                  soft_wrap=True)  # fmt: skip


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for k, heading in enumerate(headings):
        last = k == len(headings) - 1
        table.add_column(
            heading, no_wrap=not last, overflow="fold", justify="right" if k in right else "left"
        )
    for row in rows:
        table.add_row(*row)
    return table


def _show_own(name: str, *, as_json: bool) -> None:
    """Describe a user's policy; its class is read in a process behind walls."""
    from emulation.sandbox.policy_description import facts_of
    from rl.policy_descriptions import SEES

    facts = facts_of(name)
    worlds = ["emulation", "simulator"] if facts.needs == "observation" else ["simulator"]
    if as_json:
        parameters = [{"name": parameter} for parameter in facts.parameters]
        learned = bool(facts.algorithm)
        entries = {"name": name, "needs": facts.needs, "worlds": worlds, "learned": learned}
        say_json({**entries, "parameters": parameters}, indent=1)
        return
    say(one_line(name))
    say(f"sees: {SEES.get(facts.needs, facts.needs)} ({facts.needs})")
    say(f"runs in: {' and '.join(worlds)}")
    say(f"parameters: {one_line(', '.join(facts.parameters)) or 'none'}")
