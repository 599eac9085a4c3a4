"""List, show and check scenarios; write their schema for editors."""

from __future__ import annotations

from pathlib import Path

import click

from emulation.completions import offer_scenarios, offer_settings
from model.errors import ScenarioError, as_user_error
from model.network import build_network
from model.scenario import Scenario
from model.scenario.json_schema import schema_text
from model.scenario.load import load_scenario, parse_overrides
from model.scenario.yaml_reader import dump_yaml
from model.shipped_scenarios import scenario_names
from records.ownership import give_to_user, make_folder
from records.streams import one_line, say, say_json

FAULTY = 1
"""Exit status of `check` where a file is not a good scenario."""


@click.group()
def scenario() -> None:
    """List, show and check scenarios; write their schema for editors."""


@scenario.command("list")
def list_() -> None:
    """List the scenarios that come with the lab."""
    for name in scenario_names():
        found = load_scenario(name)
        say(f"{name:<15}{_size(found)}")
        say(click.wrap_text(found.description, 96, "    ", "    "))


@scenario.command()
@click.argument("name", shell_complete=offer_scenarios)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    shell_complete=offer_settings,
    help="Override a value, e.g. network.e2d.rate_mbps=5; may be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print it for programs, as JSON.")
def show(name: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Print a scenario with every value, inherited ones and defaults included.

    NAME is a name from `scenario list` or the path of a YAML file.
    """
    found = load_scenario(name, parse_overrides(settings))
    data = found.model_dump(mode="json")
    if as_json:
        say_json(data)
        return
    say(f"# {_size(found)}")
    say(dump_yaml(data), nl=False)


@scenario.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
def check(files: tuple[str, ...]) -> int:
    """Check scenario files (or names), with one line for every mistake.

    The exit status is 1 where there is a mistake.
    """
    status = 0
    for file in files:
        try:
            found = load_scenario(file)
        except ScenarioError as error:
            say(str(error), err=True)
            status = FAULTY
        else:
            say(f"{file}: good ({_size(found)})")
    return status


@scenario.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="File to write it to instead.")  # fmt: skip
@click.option("--stdout", is_flag=True, hidden=True, help="What is done without --out anyhow.")
def schema(out: Path | None, stdout: bool) -> None:
    """Print the JSON schema with which editors complete and check scenario files."""
    if out is None:
        say(schema_text(), nl=False)
        return
    if stdout:
        raise click.UsageError("--stdout and --out: give one of them.")
    with as_user_error(f"{out}: cannot be written"):
        make_folder(out.parent)
        out.write_text(schema_text(), encoding="utf-8")
        give_to_user(out)
    say(f"written: {one_line(out)}")


def _size(found: Scenario) -> str:
    network = build_network(found)
    cloud = ", a cloud" if found.cloud.mode != "none" else ""
    edges = len(network.of_kind("edge"))
    return (
        f"{len(network.devices)} devices, {edges} edge server{'s' * (edges != 1)}{cloud}, "
        f"{found.slots} slots of {found.slot_s:g} s"
    )


command = scenario
