"""Which tcpdumps a run starts, what they say at their end, and that their bytes are the links'."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pyarrow.compute as pc
import pytest

from analysis.pcap.files import CaptureFiles
from analysis.pcap.points import point_of
from analysis.pcap.reader import read_capture
from analysis.pcap.summary import summarise
from emulation.orchestrator.capture import (
    Counts,
    _Tcpdump,
    _warnings,
    chosen_links,
    parse_closing,
    plan,
)
from experiments.chaos import snapshot
from metrics.packets import Packets, read_packets
from model.addressing import interface_name
from model.errors import UserError
from model.network import Network, build_network
from model.scenario.load import load_scenario
from records.reader import Result, find_results, open_result
from tests.analysis.captures import ping, write
from tests.busy import alone, require_idle
from tests.emulation.typed import run_lab


@pytest.fixture(scope="module")
def network() -> Network:
    return build_network(load_scenario("mini"))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["bs1-e1"], {"bs1>e1", "e1>bs1"}),
        (["e1-bs1"], {"bs1>e1", "e1>bs1"}),
        (["bs1>e1"], {"bs1>e1"}),
        (["access", "bs1>e1"], {"bs1>e1", "e1>bs1"}),
        ([], set()),
    ],
)
def test_words_name_links(network: Network, words: list[str], names: set[str]) -> None:
    assert {k.name for k in chosen_links(network, words)} == names


def test_all_are_all(network: Network) -> None:
    assert chosen_links(network, ["all"]) == list(network.shaped_links)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("bs1-e2", "did you mean 'bs1-e1'"),
        ("bs1>e2", "did you mean 'bs1>e1'"),
        ("acess", "did you mean 'access'"),
        ("backbone", "no link of that class"),
        ("", "there is no such link"),
        ("nonsense", "Allowed: a cable such as"),
    ],
)
def test_bad_words_are_told(network: Network, word: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        chosen_links(network, [word])
    assert "\n" not in str(error.value)


def test_both_sides_of_every_queue(network: Network) -> None:
    found = {(p.name, p.interface, p.only) for p in plan(network, ["bs1-e1"])}
    assert found == {
        ("bs1-e1", "bs1-e1", "outbound"),
        ("bs1-e1.in", "e1-bs1", "inbound"),
        ("e1-bs1", "e1-bs1", "outbound"),
        ("e1-bs1.in", "bs1-e1", "inbound"),
    }
    for point in plan(network, ["all"]):
        read = point_of(CaptureFiles((Path(f"{point.name}.pcap"),), point.name))
        assert (read.link, read.entering) == (point.link, point.side == "entering")


def test_ideal_cables_have_one_interface() -> None:
    shared = build_network(load_scenario("case1-shared"))
    link = next(k for k in shared.links.values() if k.spec is None)
    ports = {(p.interface, p.only) for p in plan(shared, [f"{link.source}-{link.target}"])}
    host, switch = sorted((link.source, link.target), key=lambda n: not shared.nodes[n].is_unit)
    assert ports == {(f"p-{switch}-{host}", "inbound"), (f"p-{switch}-{host}", "outbound")}


# Recorded from tcpdump 4.99.3.
ENDED = """\
tcpdump: listening on bs1-e1, link-type EN10MB (Ethernet), snapshot length 128 bytes
14215 packets captured
14601 packets received by filter
0 packets dropped by kernel
"""
DROPPED = """\
tcpdump: listening on lo, link-type EN10MB (Ethernet), snapshot length 128 bytes
712 packets captured
12000 packets received by filter
10576 packets dropped by kernel
"""
NO_DEVICE = """\
tcpdump: e1-eth0: No such device exists
(No such device exists)
"""


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (ENDED, Counts(14215, 14601, 0)),
        (DROPPED, Counts(712, 12000, 10576)),
        # What its source has beside these: the singular, and a line that few drivers cause.
        ("1 packet captured\n1 packet dropped by interface\n", Counts(1, None, None, 1)),
        (NO_DEVICE, Counts()),
        ("", Counts()),
    ],
)
def test_closing_words(said: str, counts: Counts) -> None:
    assert parse_closing(said) == counts


def dump_in(folder: Path, said: str, *files: Path) -> dict[str, object]:
    """What is reported of a capture whose tcpdump ended with these words and files."""
    (point,) = [
        p for p in plan(build_network(load_scenario("mini")), ["bs1>e1"]) if p.side == "leaving"
    ]
    (folder / "log").write_text(said)
    for k, file in enumerate(files):
        file.rename(folder / f"bs1-e1.pcap{k}")
        os.utime(folder / f"bs1-e1.pcap{k}", (1000 - k, 1000 - k))
    return _Tcpdump(point, folder, folder / "log").stop()


def test_a_capped_capture_is_one_file_in_order(tmp_path: Path) -> None:
    # The second of the two files is the older one here: tcpdump has come round to the first.
    newer = write(tmp_path / "x", [(20.0 + k, ping(k)) for k in range(2)])
    older = write(tmp_path / "y", [(10.0 + k, ping(k)) for k in range(3)])
    report = dump_in(tmp_path, ENDED.replace("14215", "9"), newer, older)
    assert (report["captured"], report["kept"]) == (9, 5)
    assert [p.name for p in tmp_path.glob("*.pcap*")] == ["bs1-e1.pcap"]
    times = read_capture(tmp_path / "bs1-e1.pcap").time_ns / 1e9
    assert times.tolist() == [10, 11, 12, 20, 21]
    (warning,) = _warnings([report])
    assert "first 4 packets were overwritten" in warning


def test_what_is_missing_is_warned_of(tmp_path: Path) -> None:
    (warning,) = _warnings([dump_in(tmp_path, DROPPED, write(tmp_path / "x", [(1.0, ping(1))]))])
    assert "10576 packets are missing" in warning
    (warning,) = _warnings([dump_in(tmp_path, NO_DEVICE)])
    assert "No such device exists" in warning


@pytest.mark.ovs
def test_a_bad_name_ends_before_anything_is_built(tmp_path: Path) -> None:
    done = run_lab("mini", tmp_path, "--pcap", "bs1-e9")
    assert done.returncode == 2
    assert "did you mean 'bs1-e1'" in done.stderr
    assert not list(tmp_path.iterdir())


def captured_bytes(result: Result, name: str, begin_s: float, end_s: float) -> float:
    """Bytes of a capture within a stretch of the run."""
    packets = Packets()
    began = result.manifest["clocks"]["begin_unix_s"]
    read_packets(result.folder / "pcap" / f"{name}.pcap", began, packets)
    return float(packets.between(begin_s, end_s).bytes.sum())


def compare_counters(result: Result) -> None:
    """What left and entered each queue, by capture, by the queue and by the switch's port."""
    network, end_s = build_network(result.scenario), result.scenario.duration_s
    sent = result.table("links").group_by("link").aggregate([("sent_bytes", "sum")])
    by_queue = dict(zip(sent["link"].to_pylist(), sent["sent_bytes_sum"].to_pylist(), strict=True))
    ports: dict[tuple[str, str], list[dict[str, float]]] = {}
    for row in result.table("ports").to_pylist():
        ports.setdefault((row["switch"], row["neighbour"]), []).append(row)
    for link in network.shaped_links:
        # Counters are read up to 50 ms late where the machine is busy.
        near = link.spec.rate_mbps * 1e6 / 8 * 0.05 if link.spec else 0.0
        name = interface_name(link.source, link.target)
        left = captured_bytes(result, name, 0.0, end_s)
        assert left == pytest.approx(by_queue[link.name], rel=0.002, abs=near), link
        # The first slot's end is the base of what the ports have counted.
        if link.target == "bs1":
            first, *_, last = ports[link.target, link.source]
            by_capture, counter = captured_bytes(result, name, 1.0, end_s), "rx_bytes"
        else:
            first, *_, last = ports[link.source, link.target]
            by_capture, counter = captured_bytes(result, f"{name}.in", 1.0, end_s), "tx_bytes"
        by_port = last[counter] - first[counter]
        assert by_capture == pytest.approx(by_port, rel=0.002, abs=near), link


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.timeout(180)
def test_captures_queues_and_tasks_tell_the_same_bytes(tmp_path: Path) -> None:
    before = snapshot.take()
    with alone():
        done = run_lab("mini", tmp_path, "--pcap", "all", "--policy", "own-edge", "--slots", "14")
    assert done.returncode == 0, done.stderr
    assert not before.changes(snapshot.take())
    (folder,) = find_results(tmp_path)
    result = open_result(folder)
    require_idle(result)
    captures = result.manifest["captures"]
    assert len(captures) == 2 * len(build_network(result.scenario).shaped_links)
    assert all(c["dropped_by_kernel"] == 0 and "error" not in c for c in captures)
    assert result.manifest["capture_warnings"] == []
    compare_counters(result)
    summary = summarise([folder])
    tasks = result.table("tasks", ["task", "data_mb", "outcome", "attempts", "arrived_s"])
    whole = tasks.filter(
        pc.and_(pc.equal(tasks["outcome"], "done"), pc.equal(tasks["attempts"], 1))
    )
    flows = summary.flows.filter(pl.col("kind") == "TASK", pl.col("link") != "bs1>e1")
    assert whole.num_rows > 5
    for row in whole.to_pylist():
        (flow,) = flows.filter(pl.col("task") == row["task"]).iter_rows(named=True)
        data = row["data_mb"] * 1e6
        if not flow["retransmitted"]:
            assert flow["payload_bytes"] == round(data) + 32
        segments = -(-flow["payload_bytes"] // 1448)
        assert flow["bytes"] == pytest.approx(flow["payload_bytes"] + 66 * segments, rel=0.01)
