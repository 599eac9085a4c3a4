"""Measure this machine's emulation: network up, probes, network away; returns the fidelity card."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import get_args

from emulation.calibration.card import Card, Line, describe_machine, new_card
from emulation.calibration.probes import FULL, LOADS, QUICK, Plan, Probes, Protocol
from emulation.calibration.rig import SCENARIO, Rig
from emulation.host.interrupts import handled, raise_interrupt, uninterrupted
from emulation.host.ledger import Ledger, living_runs
from emulation.network.fabric import Fabric
from emulation.options import RunOptions
from emulation.run import require_machine

Progress = Callable[[str], None]
Prepare = Callable[[Fabric], None]


def steps() -> int:
    """How often ``calibrate`` calls ``progress``."""
    return 4 + len(LOADS) * len(get_args(Protocol))


def calibrate(
    *,
    quick: bool = False,
    progress: Progress = lambda _: None,
    prepare: Prepare | None = None,
) -> Card:
    """Measure everything: half a minute if ``quick``, else a minute and a half.

    Whatever ends it, Ctrl-C included, nothing stays on the machine. ``prepare`` may change the
    network before it is measured; tests spoil it, to see that the card tells.
    Raises ``UserError`` where the machine cannot emulate, ``RunError`` if something breaks.
    """
    options = require_machine(RunOptions(scenario=SCENARIO))
    surroundings = {
        **describe_machine(options.datapath),
        "load_average": os.getloadavg()[0],
        "other_runs": living_runs(),
    }
    with handled(raise_interrupt, (signal.SIGTERM,)):
        ledger = Ledger.open_new()
        rig: Rig | None = None
        try:
            progress("building the network")
            rig = Rig(options, ledger)
            rig.build(prepare)
            lines = list(_measure(rig, QUICK if quick else FULL, progress))
        finally:
            with uninterrupted():
                if rig is not None:
                    rig.close()
                ledger.remove_all()
    return new_card(lines, surroundings, quick=quick)


def _measure(rig: Rig, plan: Plan, progress: Progress) -> Iterator[Line]:
    probes = Probes(rig, plan)
    progress("an idle network")
    yield from probes.idle()
    for link_class in LOADS:
        for protocol in get_args(Protocol):
            progress(f"a backlogged link: {link_class}, {protocol}")
            yield from probes.load(link_class, protocol)
    yield from probes.pings()
    progress("tasks through an idle network")
    yield from probes.transfers()
    yield probes.cpu()
    progress("done")
