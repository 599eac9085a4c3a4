"""Reading results with polars: who waited, where, and behind what.

    ./lab run mini --world simulator
    ./lab python examples/read_results.py results/mini

Takes the folder of a result, or one with several below it. A result is Parquet tables and a
manifest; docs/results.md says what is in them. To work with it as a notebook, the cells between
the ``# %%`` marks are what Jupyter and editors take for one.
"""

# %% Find results, and read each run's tasks with the name of its policy
from __future__ import annotations

import sys
from pathlib import Path

import click
import polars as pl

from records.reader import Result, find_results, open_result

pl.Config.set_tbl_hide_dataframe_shape(True)


def tasks_of(result: Result) -> pl.DataFrame:
    """Every task of a run with its delay E, s; unfinished ones are charged until the end."""
    end_s = result.scenario.duration_s
    tasks = pl.DataFrame(pl.from_arrow(result.table("tasks")))
    return tasks.with_columns(
        policy=pl.lit(result.manifest["policy"]),
        delay_s=pl.coalesce(
            pl.when(pl.col("outcome") == "done").then(pl.col("known_s")), pl.lit(end_s)
        )
        - pl.col("born_s"),
    )


# %% Delay by policy and by where a task was computed
def delays(tasks: pl.DataFrame) -> pl.DataFrame:
    """Unit delay and median delay, by policy and kind of target."""
    return (
        tasks.group_by("policy", "target_kind")
        .agg(
            tasks=pl.len(),
            unit_delay_s_per_mb=pl.col("delay_s").sum() / pl.col("data_mb").sum(),
            median_delay_s=pl.col("delay_s").median(),
        )
        .sort("policy", "target_kind")
    )


# %% The fullest links
def fullest_links(result: Result, count: int = 5) -> pl.DataFrame:
    """Links by mean load V/c, s."""
    links = pl.DataFrame(pl.from_arrow(result.table("links", ("link", "link_class", "load_s"))))
    return (
        links.group_by("link", "link_class")
        .agg(mean_load_s=pl.col("load_s").mean(), highest_load_s=pl.col("load_s").max())
        .sort("mean_load_s", descending=True)
        .head(count)
    )


# %% All of it, for the folders that are named
def main(folder: Path) -> pl.DataFrame:
    """Print both tables; returns the first."""
    results = [open_result(found) for found in find_results(folder)]
    if not results:
        sys.exit(f"{folder}: there is no result here or below")
    table = delays(pl.concat([tasks_of(result) for result in results], how="vertical_relaxed"))
    click.echo(table)
    for result in results:
        click.echo(f"\n{result.manifest['policy']}: {result.folder}\n{fullest_links(result)}")
    return table


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
