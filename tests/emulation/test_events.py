"""Capacities that change and cables that fail, on the real network and in its records."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from records.reader import find_results, open_result
from tests.busy import alone, require_idle
from tests.emulation.typed import run_lab, run_python

pytestmark = [pytest.mark.ovs, pytest.mark.slow, pytest.mark.timeout(180)]
SCENARIO = """
extends: case2
slots: 14
network:
  clusters:
    - {name: c1, bs: bs1, devices: 2}
    - {name: c2, bs: bs2, devices: 2}
    - {name: c3, bs: bs3, devices: 2}
events:
  capacity:
    - {at_s: 4.5, link: "c1d1>bs1", rate_mbps: 3}
  failures:
    - {at_s: 5, link: bs1-bs2, down_s: 4}
"""

_BROKEN_CABLES = """
from emulation.network import fabric; from emulation import run
from emulation.host.commands import CommandError

def set_cable(*_, **__):
    raise CommandError(["ip"], 1, "", "no such cable")

fabric.Fabric.set_cable = set_cable
run.main()
"""


@pytest.mark.timing
def test_events_reach_the_network_and_the_records(tmp_path: Path) -> None:
    scenario = tmp_path / "eventful.yaml"
    scenario.write_text(SCENARIO)
    with alone():
        done = run_lab(scenario, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = find_results(tmp_path)
    require_idle(open_result(folder))
    links = pl.from_arrow(open_result(folder).table("links"))
    assert isinstance(links, pl.DataFrame)
    rates = dict(links.filter(pl.col("link") == "c1d1>bs1").select("slot", "rate_mbps").iter_rows())
    assert rates[2] == 10.0
    assert rates[6] == 3.0
    other = links.filter(pl.col("link") == "bs1>c1d1")["rate_mbps"]
    assert set(other) == {10.0}  # one direction only
    for link in ("bs1>bs2", "bs2>bs1"):
        up = dict(links.filter(pl.col("link") == link).select("slot", "up").iter_rows())
        assert up[3]
        assert not up[6]
        assert up[11]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    cables = [(e["cable"], e["up"]) for e in log if e["event"] == "link"]
    assert cables == [("bs1-bs2", False), ("bs1-bs2", True)]
    assert len([e for e in log if e["event"] == "rerouted"]) >= 2
    changes = open_result(folder).table("events").to_pylist()
    assert [(c["link"], c["rate_mbps"], c["up"]) for c in changes] == [
        ("c1d1>bs1", 3.0, None),
        *((link, None, up) for up in (False, True) for link in ("bs1>bs2", "bs2>bs1")),
    ]
    assert [c["time_s"] for c in changes] == pytest.approx([4.5, 5, 5, 9, 9], abs=0.3)
    # Two hops became three; the pings of c1d1 went on to e2 all the same.
    probes = pl.from_arrow(open_result(folder).table("probes"))
    assert isinstance(probes, pl.DataFrame)
    during = probes.filter(
        (pl.col("device") == "c1d1")
        & (pl.col("target") == "e2")
        & pl.col("time_s").is_between(5.8, 8.5)
    )
    assert during.height >= 1
    assert during["rtt_s"].null_count() == 0


def test_an_event_that_fails_ends_the_run(tmp_path: Path) -> None:
    """Rather than going on with a network that is not the scenario's."""
    scenario = tmp_path / "eventful.yaml"
    scenario.write_text(
        "extends: mini\nslots: 8\nevents: {failures: [{at_s: 2, link: bs1-e1, down_s: 3}]}\n"
    )
    done = run_python("-c", _BROKEN_CABLES, str(scenario), "--out", str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no such cable" in done.stderr
