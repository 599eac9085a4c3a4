"""What lies in front of a transport header is decoded, or counted and named; nothing is a 0."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import (
    ARP,
    GRE,
    LLC,
    SNAP,
    CookedLinux,
    CookedLinuxV2,
    Dot1AD,
    Dot1Q,
    Ether,
    Loopback,
)
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter

from analysis.pcap.summary import Summary, summarise
from cli.main import main
from tests.analysis.captures import segment, segments, task, write

A, B = "10.9.0.1", "10.9.0.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
OUTER = IP(src="192.0.2.1", dst="192.0.2.2")


def ip(*, back: bool = False, six: bool = False) -> Packet:
    """An IP header in one or the other direction."""
    source, target = (B, A) if back else (A, B)
    source6, target6 = (B6, A6) if back else (A6, B6)
    return IPv6(src=source6, dst=target6) if six else IP(src=source, dst=target)


def tcp(k: int, *, back: bool = False) -> Packet:
    """The k-th segment of 100 bytes, or its acknowledgement."""
    stamps = (9000 + k, 1000 + k) if back else (1000 + k, 0)
    options = [("NOP", None), ("NOP", None), ("Timestamp", stamps)]
    if back:
        return TCP(sport=80, dport=4000, ack=100 * k + 100, flags="A", options=options)
    return TCP(sport=4000, dport=80, seq=100 * k, flags="A", options=options) / Raw(bytes(100))


ENCAPSULATIONS = {
    "vlan": lambda p: ETHER / Dot1Q(vlan=30) / p,
    "priority": lambda p: ETHER / Dot1Q(vlan=0, prio=5) / p,
    "qinq": lambda p: ETHER / Dot1AD(vlan=100) / Dot1Q(vlan=20) / p,
    "mpls": lambda p: ETHER / MPLS(label=16, s=0) / MPLS(label=17, s=1) / p,
    "pppoe": lambda p: ETHER / PPPoE(sessionid=1) / PPP() / p,
    "snap": lambda p: (
        Ether(src=ETHER.src, dst=ETHER.dst, type=len(p) + 8)
        / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x86DD if IPv6 in p else 0x800) / p
    ),
    "gre": lambda p: ETHER / OUTER / GRE(key_present=1, key=5) / p,
    "gre-bridged": lambda p: ETHER / OUTER / GRE(proto=0x6558) / ETHER / p,
    "vxlan": lambda p: ETHER / OUTER / UDP(sport=1, dport=4789) / VXLAN(vni=7) / ETHER / p,
    "ip-in-ip": lambda p: ETHER / OUTER / p,
    "plain": lambda p: ETHER / p,
}  # fmt: skip


def transfer(path: Path, wrap: object, *, six: bool = False, kind: int = 1) -> Summary:
    """Ten segments, each acknowledged after 10 ms, in some encapsulation."""
    with PcapWriter(str(path), nano=True, linktype=1) as writer:
        writer.write_header(None)
        for k in range(10):
            there, back = ip(six=six) / tcp(k), ip(six=six, back=True) / tcp(k, back=True)
            for late_ns, inner in ((0, there), (10_000_000, back)):
                data = bytes(wrap(type(inner)(bytes(inner))))  # type: ignore[operator]
                writer.write_packet(data, sec=1000 + k, usec=late_ns)
    content = bytearray(path.read_bytes())
    content[20:24] = kind.to_bytes(4, "little")  # scapy's writer takes type 0 for "guess"
    path.write_bytes(content)
    return summarise([path])


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("name", ENCAPSULATIONS)
def test_round_trips_in(tmp_path: Path, name: str, six: bool) -> None:
    summary = transfer(tmp_path / "a.pcap", ENCAPSULATIONS[name], six=six)
    (row,) = summary.links.iter_rows(named=True)
    assert (row["packets"], row["retransmitted"]) == (20, 0)
    assert row["rtt_p50_s"] == pytest.approx(0.01)
    there = summary.flows.filter(target_port=80).row(0, named=True)
    assert (there["source"], there["target"]) == ((A6, B6) if six else (A, B))
    assert there["payload_bytes"] == 1000
    vlan = {"vlan": "30", "qinq": "100.20"}.get(name)
    assert there["vlan"] == vlan
    told = [n for n in summary.notes if "20 of 20 packets: in tunnels" in n]
    assert bool(told) == (name in ("gre", "gre-bridged", "vxlan", "ip-in-ip"))


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        (0, lambda p: Loopback(type=10 if IPv6 in p else 2) / p),
        (101, lambda p: p),
        (113, lambda p: CookedLinux(proto=0x86DD if IPv6 in p else 0x800) / p),
        (276, lambda p: CookedLinuxV2(proto=0x86DD if IPv6 in p else 0x800) / p),
    ],
)
def test_link_types(tmp_path: Path, kind: int, wrap: object, six: bool) -> None:
    (row,) = transfer(tmp_path / "a.pcap", wrap, six=six, kind=kind).links.iter_rows(named=True)
    assert row["rtt_p50_s"] == pytest.approx(0.01)
    assert row["bytes"] == 10 * (14 + 2 * (40 if six else 20) + 64 + 100 + 14)


def one(tmp_path: Path, *packets: Packet | bytes, snaplen: int = 2000) -> Summary:
    """The summary of a few packets."""
    found = [(1.0 + k / 10, bytes(p)) for k, p in enumerate(packets)]
    return summarise([write(tmp_path / "a.pcap", found, snaplen)])


def test_options_and_extension_headers(tmp_path: Path) -> None:
    options = ETHER / IP(src=A, dst=B, options=[IPOption_NOP()] * 8) / tcp(0)
    extended = ETHER / ip(six=True) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / tcp(0)
    flows = one(tmp_path, options, extended).flows
    assert flows["target_port"].to_list() == [80, 80]
    assert flows["payload_bytes"].to_list() == [100, 100]


def test_pings_of_ipv6(tmp_path: Path) -> None:
    asked = ETHER / ip(six=True) / ICMPv6EchoRequest(id=3, seq=4)
    reply = ETHER / ip(six=True, back=True) / ICMPv6EchoReply(id=3, seq=4)
    assert one(tmp_path, asked, reply).links["ping_p50_s"].to_list() == [pytest.approx(0.1)]


def test_segmentation_offload(tmp_path: Path) -> None:
    frames = []
    for six in (False, True):
        header = ip(six=six)
        setattr(header, "plen" if six else "len", 0)
        frames.append(bytes(ETHER / header / tcp(0)))
    summary = one(tmp_path, *frames)
    assert summary.flows["payload_bytes"].to_list() == [100, 100]
    assert "2 of 2 packets: IP length 0" in summary.notes[0]


def test_fragments_are_counted(tmp_path: Path) -> None:
    datagram = IP(src=A, dst=B, id=9) / UDP(sport=5, dport=6) / Raw(bytes(3000))
    parts = [ETHER / f for f in fragment(datagram, fragsize=1400)]
    later = ETHER / ip(six=True) / IPv6ExtHdrFragment(offset=100, nh=17) / Raw(bytes(50))
    summary = one(tmp_path, *parts, later)
    assert summary.flows["packets"].sum() == 1
    assert f"{len(parts)} of {len(parts) + 1} packets: IP fragments" in summary.notes[0]


def test_what_is_no_ip_is_counted(tmp_path: Path) -> None:
    strange = [
        ETHER / ARP(),
        Ether(type=0x88CC) / Raw(bytes(30)),
        ETHER / MPLS(s=1) / Raw(b"\0" * 30),
    ]
    summary = one(tmp_path, *strange, ETHER / IP(src=A, dst=B, proto=50) / Raw(bytes(40)))
    text = "\n".join(summary.notes)
    assert "2 of 4 packets: no IP (ARP 1, LLDP 1)" in text
    assert "1 of 4 packets: encapsulation that is not decoded" in text
    assert "1 of 4 packets: IP without ports (ESP 1)" in text
    (row,) = summary.links.iter_rows(named=True)
    assert row["packets"] == 4
    assert row["retransmitted"] is row["rtt_p50_s"] is row["ping_p50_s"] is None


@pytest.mark.parametrize("snaplen", range(14, 66))
def test_cut_headers_are_no_zeros(tmp_path: Path, snaplen: int) -> None:
    frames = [ETHER / ip() / tcp(0), ETHER / ip(back=True) / tcp(0, back=True)]
    summary = one(tmp_path, *frames, snaplen=snaplen)
    (row,) = summary.links.iter_rows(named=True)
    assert row["rtt_p50_s"] is None
    assert (row["retransmitted"] is None) == (snaplen < 54)
    assert any("2 of 2 packets" in n and "cut" in n for n in summary.notes)
    reasons = dict(summary.missing.select("column", "reason").rows())
    assert "cut" in reasons["rtt_p50_s"]


@pytest.mark.parametrize("snaplen", range(67, 98))
def test_a_cut_task_header_is_noted(tmp_path: Path, snaplen: int) -> None:
    frames = [(1.0 + k, f) for k, f in enumerate(segments(task(9, 3000)))]
    summary = summarise([write(tmp_path / "c1d1-bs1.pcap", frames, snaplen)])
    assert summary.flows["task"].null_count() == len(summary.flows)
    assert any("a task's header is cut" in n for n in summary.notes)


def test_a_segment_in_two_vlans_is_none_sent_again(tmp_path: Path) -> None:
    frames = [ETHER / Dot1Q(vlan=v) / ip() / tcp(k) for k in range(3) for v in (10, 20)]
    summary = one(tmp_path, *frames)
    assert summary.links["retransmitted"].to_list() == [0]
    assert sorted(summary.flows["vlan"]) == ["10", "20"]


def test_datagrams_that_look_alike_have_no_wait(tmp_path: Path) -> None:
    same = bytes(ETHER / IP(src=A, dst=B, id=0) / UDP(sport=5, dport=6) / Raw(bytes(40)))
    write(tmp_path / "a-b.in.pcap", [(1.0, same), (1.1, same)])
    write(tmp_path / "a-b.pcap", [(2.0, same), (2.5, same)])
    summary = summarise([tmp_path])
    assert summary.waits.is_empty()
    assert any("looked like another one" in n for n in summary.notes)


def test_udp_has_no_retransmissions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.pcap", [(1.0 + k, bytes(ETHER / ip() / UDP())) for k in range(3)])
    assert main(["pcap", str(path)]) == 0
    out = capsys.readouterr().out
    assert "– retr., rtt: no TCP" in out
    assert "– ping: no ping" in out


def test_what_only_entered_a_queue_has_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a-b.in.pcap", [(1.0, segment(0, bytes(50))), (2.0, segment(50))])
    (row,) = summarise([path]).links.iter_rows(named=True)
    assert (row["link"], row["entered"], row["packets"]) == ("a>b", 2, None)


def test_tcp_without_timestamps(tmp_path: Path) -> None:
    plain = ETHER / ip() / TCP(sport=1, dport=2, flags="A") / Raw(bytes(10))
    summary = one(tmp_path, plain, ETHER / ip(back=True) / ICMP(type=3))
    reasons = dict(summary.missing.select("column", "reason").rows())
    assert reasons["rtt_p50_s"] == "TCP without timestamps"
    assert summary.links.select(pl.col("retransmitted")).item() == 0
