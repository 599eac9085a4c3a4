"""Both ends of a scenario's ranges: refused in one line before the start, or real queues."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulation.host import netlink
from emulation.host.ledger import Ledger
from emulation.network.fabric import FABRIC, Fabric
from emulation.network.shaping import Shape, verify
from emulation.protocol.link_limits import (
    GAP_S,
    LIMIT_S,
    first_exchanges,
    require_buffers,
    require_first_exchanges,
)
from model.errors import UserError
from model.network import build_network
from model.scenario import (
    MAX_LINK_MBPS,
    MIN_BUILT_MBPS,
    MIN_LINK_MBPS,
    ClusterSpec,
    LinkSpec,
    Scenario,
)
from model.scenario.load import load_scenario
from records.reader import find_results, open_result
from tests.busy import alone, require_idle
from tests.emulation.scenarios import small_scenario
from tests.emulation.typed import run_lab
from topologies.crowd_edge import CrowdEdgeTopo

SHIPPED = ("case1", "case2", "case3", "mini", "livecast-mini")
WIDEST = (MIN_LINK_MBPS, 0.0012345, 1.234567, 34_359.738_36, 34_359.738_368, 40_000.000_001,
          MAX_LINK_MBPS)  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenarios_are_measured_as_ever(name: str) -> None:
    scenario = load_scenario(name)
    for speedup in (1.0, 10.0):
        plan = first_exchanges(scenario, build_network(scenario), speedup)
        assert (plan.gap_s, plan.limit_s) == (GAP_S, LIMIT_S) == (0.02, 5.0)
        require_buffers(scenario, speedup)


def test_slow_links_are_given_time() -> None:
    scenario = small_scenario(access=LinkSpec(rate_mbps=MIN_BUILT_MBPS))
    plan = first_exchanges(scenario, build_network(scenario), 1.0)
    # Four devices share an access link; each ping is 98 bytes on the wire.
    assert plan.slowest == "access"
    assert plan.gap_s == pytest.approx(4 * 98 * 8 / (MIN_BUILT_MBPS * 1e6))
    assert plan.limit_s > LIMIT_S
    require_first_exchanges(scenario, build_network(scenario), 1.0)


def test_long_delays_are_given_time_and_speedup_shortens_them() -> None:
    scenario = small_scenario(e2e=LinkSpec(rate_mbps=30, delay_ms=5000))
    network = build_network(scenario)
    slow, fast = (first_exchanges(scenario, network, k).limit_s for k in (1.0, 10.0))
    assert slow > 4 * 10.0  # connections take two round trips of at least 10 s
    assert fast < slow / 5


@pytest.mark.parametrize(
    ("network", "named"),
    [
        ({"e2d": LinkSpec(rate_mbps=0.01), "wireless_scope": "cluster",
          "clusters": (ClusterSpec(name="c1", bs="bs1", devices=30),)}, "network.e2d"),
        ({"access": LinkSpec(rate_mbps=0.01),
          "clusters": (ClusterSpec(name="c1", bs="bs1", devices=40),)}, "network.access"),
        ({"e2e": LinkSpec(rate_mbps=30, delay_ms=60_000)}, "delays of 120 s"),
    ],
)  # fmt: skip
def test_what_would_take_minutes_is_refused(network: dict[str, object], named: str) -> None:
    scenario = small_scenario(**network)
    with pytest.raises(UserError, match=named) as caught:
        require_first_exchanges(scenario, build_network(scenario), 1.0)
    assert "\n" not in str(caught.value)
    assert "simulate" in str(caught.value)


def test_a_buffer_holds_a_frame_and_what_the_kernel_counts() -> None:
    small = small_scenario(e2d=LinkSpec(rate_mbps=10, buffer_mb=0.01))
    require_buffers(small, 6.6)  # 1515 bytes
    with pytest.raises(UserError, match=r"network\.e2d\.buffer_mb = 0\.01 is 1493 real bytes"):
        require_buffers(small, 6.7)
    large = small_scenario(access=LinkSpec(rate_mbps=10, buffer_mb=4_000))
    require_buffers(large, 1.0)
    with pytest.raises(UserError, match=r"network\.access\.buffer_mb"):
        require_buffers(large, 0.9)


def test_no_buffer_of_a_link_that_does_not_exist_is_asked_for() -> None:
    # Without a cloud there is no backbone.
    require_buffers(small_scenario(backbone=LinkSpec(rate_mbps=1, buffer_mb=0.01)), 100.0)


def test_a_run_with_too_small_a_buffer_stops_before_it_starts(tmp_path: Path) -> None:
    done = run_lab("mini", tmp_path, "--speedup", "10", "--set", "network.e2d.buffer_mb=0.01")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "network.e2d.buffer_mb" in done.stderr
    assert not find_results(tmp_path)


@pytest.mark.parametrize("rate_mbps", WIDEST)
def test_whole_bytes_are_asked_for(rate_mbps: float) -> None:
    from emulation.network.shaping import _htb

    bits = int(_htb(rate_mbps).split()[1].removesuffix("bit"))
    assert bits == 8 * Shape(rate_mbps, 10_000).rate_bytes_per_s
    assert bits == pytest.approx(rate_mbps * 1e6, abs=4)


def extremes() -> Scenario:
    """Give slowest and fastest links, smallest and largest buffers, and rates of no whole bytes."""
    return small_scenario(
        e2d=LinkSpec(rate_mbps=MIN_BUILT_MBPS, buffer_mb=0.01),
        access=LinkSpec(rate_mbps=MAX_LINK_MBPS, buffer_mb=4_000),
        e2e=LinkSpec(rate_mbps=1.234567, buffer_mb=4_000),
    )


@pytest.mark.ovs
def test_real_queues_are_shaped_at_both_ends_of_the_ranges() -> None:
    ledger = Ledger.open_new()
    try:
        fabric = Fabric(CrowdEdgeTopo(scenario=extremes()), ledger, "netdev")
        fabric.build()
        link, shape = next((k, s) for k, s in fabric.shapes.items() if k.startswith("c1d1>"))
        with netlink.netlink(fabric.namespaces[FABRIC]) as handle:
            (index,) = handle.link_lookup(ifname=link.replace(">", "-"))
            for rate_mbps in WIDEST:
                fabric.change_rates({link: rate_mbps})
                verify(handle, {index: (link, Shape(rate_mbps, shape.buffer_bytes))})
                wrong = Shape(rate_mbps + 16e-6, shape.buffer_bytes)  # two bytes per second more
                with pytest.raises(UserError, match="not shaped as asked: c1d1>bs1: asked for"):
                    verify(handle, {index: (link, wrong)})
        fabric.close()
    finally:
        ledger.remove_all()


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "settings",
    [
        {"e2d": MIN_BUILT_MBPS, "access": MIN_BUILT_MBPS},
        {"e2d": MAX_LINK_MBPS, "access": MAX_LINK_MBPS},
    ],
    ids=["slowest", "fastest"],
)
def test_a_run_at_the_end_of_the_range(tmp_path: Path, settings: dict[str, float]) -> None:
    """It starts, each device has the idle round trip to each target, and it ends by itself."""
    words = [w for k, v in settings.items() for w in ("--set", f"network.{k}.rate_mbps={v:g}")]
    with alone():
        done = run_lab(
            "mini", tmp_path, "--slots", "8", "--policy", "own-edge", "--set",
            "workload.data_mb=0.01", *words,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = find_results(tmp_path)
    result = open_result(folder)
    require_idle(result)
    network = build_network(result.scenario)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    idle_rtt_s = {e["node"]: e["idle_rtt_s"] for e in log if e["event"] == "baseline"}
    for device in network.devices:
        remote = network.targets(device.name)[1:]
        assert set(idle_rtt_s[device.name]) == set(remote)
        # Spaced as they are, no first ping waits for another: 0.3 s for four at the slowest rate.
        assert max(idle_rtt_s[device.name].values()) < 0.2
