"""Write a scenario's tasks as Parquet, and what they ask of the network and the units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.table import Table

from emulation.completions import offer_scenarios, offer_settings
from model.compute import mean_frequency_ghz
from model.errors import as_user_error
from model.network import Network, build_network
from model.random_streams import MAX_SEED
from model.scenario import Scenario
from model.scenario.load import load_scenario, parse_overrides
from model.workload import TaskTrace, generate_trace
from records.console import screen_of_tables
from records.ownership import give_to_user, make_folder
from records.streams import one_line, say


@dataclass(frozen=True, slots=True)
class Offered:
    """What some devices' tasks ask for, on average over a run."""

    name: str
    tasks: int
    data_mbps: float
    work_ghz: float


@click.command()
@click.argument("scenario", shell_complete=offer_scenarios)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=1,
    show_default=True,
    help="Same seed, same tasks, in both worlds and on every machine.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=offer_settings,
    help="Override a value of the scenario, e.g. workload.arrival=burst.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Parquet file to write: task, device, born_s, work_ghz_s, data_mb.",
)
@click.option("--devices", is_flag=True, help="Show the load of every device.")  # fmt: skip
def trace(
    scenario: str, seed: int, settings: tuple[str, ...], out: Path | None, devices: bool
) -> None:
    """Write a scenario's tasks as Parquet, and what they ask of the network and the units."""
    found = load_scenario(scenario, parse_overrides(settings))
    network = build_network(found)
    tasks = generate_trace(found, seed, network)
    if out is not None:
        _write(out, tasks, network)
    _print(found, seed, network, tasks, every_device=devices)
    if out is not None:
        say(f"{len(tasks)} tasks written to {one_line(out)}")


def as_table(tasks: TaskTrace, network: Network) -> pa.Table:
    """The trace as a table, devices by name."""
    names = [d.name for d in network.devices]
    return pa.table(
        {
            "task": pa.array(range(len(tasks)), pa.int64()),
            "device": pa.array([names[k] for k in tasks.device], pa.string()),
            "born_s": tasks.born_s,
            "work_ghz_s": tasks.work_ghz_s,
            "data_mb": tasks.data_mb,
        }
    )


def offered(found: Scenario, tasks: TaskTrace, name: str, members: set[int]) -> Offered:
    """The load of some devices, by their indices."""
    mine = np.isin(tasks.device, sorted(members))
    return Offered(
        name,
        int(mine.sum()),
        float(tasks.data_mb[mine].sum()) * 8 / found.duration_s,
        float(tasks.work_ghz_s[mine].sum()) / found.duration_s,
    )


def _write(path: Path, tasks: TaskTrace, network: Network) -> None:
    with as_user_error(f"{path}: cannot be written"):
        make_folder(path.parent)
        pq.write_table(as_table(tasks, network), path)
        give_to_user(path)


def _print(
    found: Scenario, seed: int, network: Network, tasks: TaskTrace, *, every_device: bool
) -> None:
    console = screen_of_tables(100)
    console.print(
        f"{found.name}, seed {seed}: {len(tasks)} tasks in {found.duration_s:g} s, "
        f"{_share(tasks.data_mb)} without data, {_share(tasks.work_ghz_s)} without work"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "devices", "tasks", "data, Mbps", "work, GHz"):
        table.add_column(heading, justify="right" if heading else "left")
    cells = [bs.name for bs in network.of_kind("bs")]
    indices = {c: {k for k, d in enumerate(network.devices) if d.cell == c} for c in cells}
    for cell in cells:
        if indices[cell]:
            _row(table, offered(found, tasks, f"cell {cell}", indices[cell]), len(indices[cell]))
        for k in sorted(indices[cell]) if every_device else ():
            _row(table, offered(found, tasks, f"  {network.devices[k].name}", {k}), 1)
    everybody = set(range(len(network.devices)))
    _row(table, offered(found, tasks, "all", everybody), len(everybody))
    console.print(table)
    console.print(_capacities(found))


def _row(table: Table, load: Offered, count: int) -> None:
    table.add_row(
        load.name, str(count), str(load.tasks), f"{load.data_mbps:.1f}", f"{load.work_ghz:.1f}"
    )


def _capacities(found: Scenario) -> str:
    net, compute = found.network, found.compute
    radio = "a device" if net.wireless_scope == "device" else "a cluster"
    return (
        f"Capacities: radio link of {radio} {net.e2d.rate_mbps:g} Mbps, access link of an edge "
        f"{net.access.rate_mbps:g} Mbps, between base stations {net.e2e.rate_mbps:g} Mbps; "
        f"edge {compute.edge_ghz:g} GHz, device {mean_frequency_ghz(found):.1f} GHz on average."
    )


def _share(values: NDArray[np.float64]) -> str:
    zero = float((values == 0).mean()) if len(values) else 0.0
    return f"{100 * zero:.1f} %"


command = trace
