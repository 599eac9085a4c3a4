"""Fig. 7: communication overhead over the number of devices, distributed against centralised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis.collection import Run
from analysis.figures import Source
from analysis.figures.panels import grid, plain_numbers
from analysis.overhead import growth, overhead
from analysis.pcap.packets import read_packets
from analysis.style import BLUE, GREY, VERMILION, WORLDS, Drawing, legend_below
from model.network import build_network
from model.wire_format import Kind

SCHEMES = (("distributed", BLUE), ("centralised", VERMILION))
_MARKERS = {"emulation": "o", "simulation": "^"}
_ICMP = 1
STATE_POLICIES = ("ago", "centralised", "oracle")
"""These do without pings, although the simulator sends them all the same."""


def draw(source: Source) -> Drawing:
    """A panel for scenarios that differ in nothing but the number of devices."""
    found = source.results
    by_case: dict[str, list[Run]] = {}
    for group in found.groups:
        by_case.setdefault(_but_for_devices(group.scenario), []).extend(group.runs)
    rows = {case: [_row(case, run) for run in runs] for case, runs in sorted(by_case.items())}
    several = {c: mine for c, mine in rows.items() if len({r["devices"] for r in mine}) > 1}
    drawn = several or rows
    figure, axes = grid(len(drawn))
    said: list[str] = []
    for axis, (case, mine) in zip(axes, drawn.items(), strict=True):
        for world in _MARKERS:
            said += _draw_world(axis, case, world, [r for r in mine if r["world"] == world])
        _draw_captured(axis, mine)
        axis.set_xscale("log")
        axis.set_yscale("log")
        plain_numbers(axis.xaxis)
        plain_numbers(axis.yaxis)
        axis.set(xlabel="devices", title=case)
    left = [case for case in rows if case not in drawn]
    if left:
        said.append(f"Not drawn, of one number of devices only: {', '.join(left)}.")
    for axis in axes[::3]:
        axis.set_ylabel("overhead, over all links (kbit/s)")
    legend_below(figure, axes, label_in=3.2)
    data = pl.DataFrame([r for mine in rows.values() for r in mine], infer_schema_length=None)
    return Drawing(figure, data, (*said, *found.said))


def _but_for_devices(scenario: str) -> str:
    """``case3 (clusters of 5, cloud.mode=overflow)`` → ``case3 (cloud.mode=overflow)``."""
    name, _, rest = scenario.partition(" (")
    other = re.sub(r"^clusters of [\d, ]*\d(, )?", "", rest.removesuffix(")"))
    return f"{name} ({other})" if other else name


def _row(case: str, run: Run) -> dict[str, Any]:
    counted, mine = overhead(run.result, run.duration_s), run.policy.partition(" ")[0]
    return {
        "case": case,
        "world": run.world,
        "policy": run.policy,
        "seed": run.seed,
        "valid": run.valid,
        "duration_s": run.duration_s,
        "devices": counted.devices,
        "distributed": counted.distributed_kbps if mine not in STATE_POLICIES else None,
        "centralised": counted.centralised_kbps,
        "pings_bytes": counted.pings,
        "acknowledgements_bytes": counted.acknowledgements,
        "status_bytes": counted.status,
        "decisions_bytes": counted.decisions,
        "captured": captured_kbps(run),
    }


def captured_kbps(run: Run) -> float | None:
    """Pings and acknowledgements in the captures of all links; None where some are missing.

    Raises ``UserError`` if a capture cannot be read.
    """
    folder = run.result.folder / "pcap"
    clocks = run.result.manifest.get("clocks")
    if not clocks or not folder.is_dir() or not any(folder.iterdir()):
        return None
    read = read_packets([folder])
    leaving = {k: p.link for k, p in enumerate(read.points) if not p.entering}
    if not {k.name for k in build_network(run.result.scenario).shaped_links} <= {*leaving.values()}:
        return None
    begin_ns = round(1e9 * clocks["begin_unix_s"])
    ours = read.table.filter(
        pl.col("point").is_in(list(leaving))
        # The measurements of idle paths before the start belong to the lab, not to the scheme.
        & pl.col("time_ns").is_between(begin_ns, begin_ns + round(1e9 * clocks["monotonic_s"]))
        & ((pl.col("protocol") == _ICMP) | (pl.col("kind") == int(Kind.ARRIVED)))
    )
    # A message has its real size at every speed-up; what changes is how often it is sent.
    return 8e-3 * float(ours["wire_bytes"].sum()) / run.duration_s


def _draw_world(axis: Any, case: str, world: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    said: list[str] = []
    for scheme, colour in SCHEMES:
        mine = _of_scheme(rows, scheme)
        if mine:
            said += _draw_scheme(axis, mine, scheme, colour, f"{case}, {WORLDS[world]}")
    both = [r for r in rows if r["distributed"] is not None]
    if both:
        said.append(_largest(case, world, max(both, key=lambda r: r["devices"])))
    return said


def _of_scheme(rows: Sequence[dict[str, Any]], scheme: str) -> list[dict[str, Any]]:
    """Runs of that scheme; for the centralised one those of other policies, if it has none."""
    own = [r for r in rows if r["policy"].partition(" ")[0] == scheme]
    return own or [r for r in rows if r[scheme] is not None]


def _draw_scheme(
    axis: Any, rows: Sequence[dict[str, Any]], scheme: str, colour: str, where: str
) -> list[str]:
    devices = np.array([r["devices"] for r in rows], dtype=np.float64)
    kbps = np.array([r[scheme] for r in rows])
    world = rows[0]["world"]
    filled = world == "emulation"
    axis.plot(devices, kbps, _MARKERS[world], color=colour, ms=5, alpha=0.7,
              mfc=colour if filled else "none", label=f"{scheme}, {WORLDS[world]}")  # fmt: skip
    if len(set(devices)) < 2:
        return []
    exponent, low, high = growth(devices, kbps)
    at = np.array([devices.min(), devices.max()])
    scale = np.exp(np.mean(np.log(kbps)) - exponent * np.mean(np.log(devices)))
    axis.plot(at, scale * at**exponent, color=colour, lw=1, ls="-" if filled else "--")
    return [
        f"{where}: {scheme} overhead grows as devices^{exponent:.2f} [{low:.2f}, {high:.2f}], "
        f"{_word(low, high)}."
    ]


def _largest(case: str, world: str, row: dict[str, Any]) -> str:
    """What it comes to with the most devices."""
    pings = row["pings_bytes"] / (row["pings_bytes"] + row["acknowledgements_bytes"])
    return (
        f"{case}, {WORLDS[world]}, {row['devices']} devices: distributed "
        f"{row['distributed']:.0f} kbit/s ({pings:.0%} of it pings), centralised "
        f"{row['centralised']:.0f} kbit/s: {row['distributed'] / row['centralised']:.1f} times."
    )


def _word(low: float, high: float) -> str:
    if np.isnan(low):
        return "from two numbers of devices only"
    if round(high, 2) < 1.0:
        return "sub-linearly"
    return "more than linearly" if round(low, 2) > 1.0 else "linearly within the error"


def _draw_captured(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    found = [r for r in rows if r["captured"] is not None]
    if found:
        axis.plot([r["devices"] for r in found], [r["captured"] for r in found], "x", color=GREY,
                  ms=7, label="distributed, in captures of all links")  # fmt: skip
