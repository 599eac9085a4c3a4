"""The fidelity card: it measures what is there, it can fail, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from emulation.calibration import card as cards
from emulation.calibration.card import Card, Line, describe_machine, machine_card, store
from emulation.calibration.probes import LOADS, QUICK, Probes
from emulation.calibration.rig import SCENARIO, Rig
from emulation.calibration.run import calibrate, steps
from emulation.host.ledger import RUN_VARIABLE, RUNS_DIR, Ledger
from emulation.host.netlink import existing_namespaces
from emulation.network.fabric import Fabric
from emulation.options import RunOptions
from emulation.run import require_machine
from metrics.packets import Packets
from records.provenance import ROOT
from tests.busy import TRIES, TooBusyError, alone, measuring

CLASSES = ("e2d", "access", "e2e")


@contextlib.contextmanager
def _rig(prepare: Callable[[Fabric], None] | None = None) -> Iterator[Rig]:
    ledger = Ledger.open_new()
    rig = Rig(require_machine(RunOptions(scenario=SCENARIO)), ledger)
    try:
        rig.build(prepare)
        yield rig
    finally:
        rig.close()
        ledger.remove_all()


@pytest.fixture(scope="module")
def quick() -> tuple[Card, list[str]]:
    """A quick card and what its progress said."""
    for _ in range(TRIES):
        said: list[str] = []
        with alone():
            card = calibrate(quick=True, progress=said.append)
        if not _busy(card.lines):
            break
    return card, said


def _busy(lines: list[Line] | tuple[Line, ...]) -> str:
    """Say why a card's figures cannot be believed, or nothing; it asks as a run's verdict does."""
    (idle,) = (line for line in lines if line.probe == "processor")
    return "" if idle.ok else idle.text


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timeout(500)
class TestQuickCard:
    def test_every_line_is_there_and_measured(self, quick: tuple[Card, list[str]]) -> None:
        card, said = quick
        assert len(said) == steps()
        names = {(x.probe, x.name) for x in card.lines}
        for link_class in CLASSES:
            for protocol in ("udp", "tcp"):
                probe = f"{link_class}, {protocol}"
                for name in ("rate, left the queue", "rate, reached the host", "loss"):
                    assert (probe, name) in names
                assert (probe, "gaps within 10 %") in names
        assert len([x for x in card.lines if x.probe.startswith("task at")]) == len(
            QUICK.rates_mbps
        )
        assert {"idle network", "ping against ΣV/c", "processor"} <= {p for p, _ in names}
        assert all(x.value is not None and np.isfinite(x.value) for x in card.lines)

    @pytest.mark.timing
    def test_figures_are_what_a_shaped_network_gives(self, quick: tuple[Card, list[str]]) -> None:
        """Bounds that any machine keeps unless something is broken, not the card's own aims."""
        if reason := _busy(quick[0].lines):
            raise TooBusyError(reason)
        for line in quick[0].lines:
            assert line.value is not None
            if line.name.startswith("rate"):
                assert line.value < 0.15, line
            elif line.name == "gaps within 10 %":
                assert line.value > 0.6, line
            elif line.name == "correlation":
                assert line.value > 0.8, line
            elif line.probe == "idle network":
                assert line.value == 0
            elif line.unit == "s":
                assert line.value < 0.05, line
            elif line.probe.startswith("task at"):
                assert line.value < 0.2, line

    def test_what_it_is_of(self, quick: tuple[Card, list[str]]) -> None:
        told = json.loads(json.dumps(quick[0].to_dict(), allow_nan=False))
        assert told["quick"] is True
        assert told["machine"]["kernel"] == os.uname().release
        assert told["machine"]["open_vswitch"]
        assert told["machine"]["datapath"] in ("system", "netdev")


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timing
def test_links_shaped_at_half_the_rate_are_told() -> None:
    def halve(fabric: Fabric) -> None:
        fabric.change_rates({k: shape.rate_mbps / 2 for k, shape in fabric.shapes.items()})

    with _rig(halve) as rig, measuring():
        probes = Probes(rig, QUICK)
        list(probes.idle())
        lines = {line.name: line for line in probes.load("e2d", "udp")}
        pings = {line.name: line for line in probes.pings()}
    for name in ("rate, left the queue", "rate, reached the host"):
        assert lines[name].ok is False
        assert lines[name].value == pytest.approx(0.5, abs=0.05)
    assert lines["gaps within 10 %"].ok is False
    assert lines["gaps within 10 %"].value == pytest.approx(0.0, abs=0.05)
    assert pings["error, all"].ok is False
    assert pings["correlation"].ok is True  # a wrong rate is no noise


@pytest.mark.ovs
@pytest.mark.slow
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "cli", "calibrate", "--quick"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LAB_STATE": str(tmp_path)},
        start_new_session=True,
    )
    run_id = _run_of(child.pid)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130, said
    assert b"Traceback" not in said
    assert not (RUNS_DIR / run_id).exists()
    assert not [n for n in existing_namespaces() if n.startswith(f"ce{run_id}-")]
    assert not list(tmp_path.iterdir())


def _run_of(pid: int) -> str:
    """Run id of a calibration, as soon as an agent of it is up."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "emulation.calibration.agent" in process.cmdline():
                    return process.environ()[RUN_VARIABLE]
        time.sleep(0.05)
    raise AssertionError("no agent came up")


def test_loads_congest_one_link_each() -> None:
    """Otherwise the figures would be of two queues at once."""
    from model.network import build_network

    network = build_network(SCENARIO)
    for load in LOADS.values():
        offered: dict[str, float] = {}
        for source, target, mbps in load.flows:
            for link in network.path(source, target):
                offered[link.name] = offered.get(link.name, 0.0) + mbps
        rates = {k.name: k.spec.rate_mbps for k in network.shaped_links if k.spec}
        assert offered[load.link] > rates[load.link]
        # The others carry what their load's link lets through.
        others = {k: v for k, v in offered.items() if k != load.link and v > rates[k]}
        after = {k.name for s, t, _ in load.flows for k in network.path(s, t)}
        assert all(rates[k] >= rates[load.link] and k in after for k in others)
        assert load.link in [k.name for k in network.path(*load.ping)]


def test_gaps_of_an_ideal_link_and_of_a_slow_one() -> None:
    sizes = np.asarray([1514.0, 98.0, 1514.0, 1514.0, 1514.0, 700.0, 1514.0, 1514.0, 1514.0])
    times = 100.0 + np.concatenate([[0.0], np.cumsum(sizes[:-1] * 8 / 10e6)])
    packets = Packets(times, sizes)
    assert packets.gap_ratios(10.0) == pytest.approx([1.0] * 3)
    assert packets.gap_ratios(20.0) == pytest.approx([2.0] * 3)
    assert packets.rate_mbps == pytest.approx(10.0)


def _line(value: float | None, *, aim: float | None = 0.01, at_least: bool = False) -> Line:
    return Line("p", "n", value, "", aim, "text", at_least)


def test_a_line_is_met_missed_or_only_told() -> None:
    assert _line(0.01).ok is True
    assert _line(0.011).ok is False
    assert _line(0.99, aim=0.99, at_least=True).ok is True
    assert _line(0.98, aim=0.99, at_least=True).ok is False
    assert _line(None).ok is False
    assert _line(float("nan")).ok is False
    assert _line(0.5, aim=None).ok is None


def test_a_card_is_quoted_on_its_own_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    assert machine_card("netdev") is None
    lines = [_line(0.001), Line("q", "m", 5.0, "s", 1.0, "too slow")]
    path = store(cards.new_card(lines, describe_machine("netdev"), quick=False))
    assert path == tmp_path / "state" / "fidelity.json"
    quoted = machine_card("netdev")
    assert quoted is not None
    assert quoted["met"] is False
    assert quoted["missed"] == ["q: too slow"]
    assert quoted["figures"] == {"p: n": 0.001, "q: m": 5.0}
    assert machine_card("system") is None
    path.write_text("{")
    assert machine_card("netdev") is None
