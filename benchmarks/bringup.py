"""How long bring-up takes, against stock Mininet's, in one run on one machine."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from emulation.host.commands import run
from emulation.host.ledger import Ledger
from emulation.options import RunOptions
from emulation.orchestrator.deployment import PROJECT, Machinery

_STOCK_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Bringup:
    """Seconds of one bring-up and tear-down."""

    up_s: float
    down_s: float


def measure_ours(options: RunOptions) -> Bringup:
    """Network built, shaped and verified, switches connected, flows installed; then all removed."""
    begin = time.monotonic()
    ledger = Ledger.open_new()
    try:
        machinery = Machinery(options, ledger)
        machinery.bring_network_up()
        up = time.monotonic()
        machinery.tear_down()
    finally:
        ledger.remove_all()
    return Bringup(up - begin, time.monotonic() - up)


def measure_stock(options: RunOptions) -> Bringup:
    """Stock Mininet's build and start of the same graph with TCLink, then its stop.

    It shapes and verifies less, connects to no controller and installs no path.
    """
    datapath = "kernel" if options.datapath == "system" else "user"
    inside = ["unshare", "--net", "--mount", sys.executable, "-m", "benchmarks.stock_mininet"]
    environment = {"PYTHONPATH": str(PROJECT)}
    command = [*inside, options.scenario.name, datapath]
    answer = json.loads(run(command, env=environment, timeout_s=_STOCK_TIMEOUT_S).splitlines()[-1])
    return Bringup(answer["build_s"] + answer["start_s"], answer["stop_s"])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pairs measured in turn, and the medians of the ratios ours / stock."""

    ours: list[Bringup]
    stock: list[Bringup]

    @property
    def up_ratio(self) -> float:
        """Median over pairs of the ratio of bring-up times."""
        return statistics.median(a.up_s / b.up_s for a, b in self._pairs)

    @property
    def down_ratio(self) -> float:
        """Median over pairs of the ratio of tear-down times."""
        return statistics.median(a.down_s / b.down_s for a, b in self._pairs)

    @property
    def _pairs(self) -> list[tuple[Bringup, Bringup]]:
        return list(zip(self.ours, self.stock, strict=True))


def compare(options: RunOptions, pairs: int, progress: Callable[[int], None]) -> Comparison:
    """Measure in turn, ours and stock, so that drift of the machine falls on both."""
    ours, stock = [], []
    for k in range(pairs):
        ours.append(measure_ours(options))
        stock.append(measure_stock(options))
        progress(k + 1)
    return Comparison(ours, stock)
