"""Packet captures of a run: one tcpdump a link and side, from before the first task to the end.

tcpdump sees a packet that leaves by an interface after the interface's qdisc, when the driver gets
it, and one that arrives before anything else does. The packets of link ``a>b`` arrive at the
fabric's interface ``b-a`` and are passed on to ``a-b``, whose qdisc is the link's queue
(``emulation.network.fabric`` draws it). So ``pcap/a-b.in.pcap`` holds them as they *enter* the
queue, captured at ``b-a``, and ``pcap/a-b.pcap`` as they *leave* it, captured at ``a-b``. The two
files together tell how long each packet waited.
"""

from __future__ import annotations

import re
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from emulation.host import processes
from emulation.host.commands import ProcessError
from emulation.host.ledger import Ledger
from emulation.network.fabric import port_name, process_environment
from emulation.options import RunOptions
from model.addressing import interface_name
from model.errors import UserError, nearest
from model.network import Link, Network
from model.scenario import LINK_CLASSES
from records.ownership import make_folder
from records.streams import say
from records.writer import ResultWriter

_BUFFER_KIB = 1024
"""Of each tcpdump in the kernel: some 5000 headers, half a second at 100 Mbps."""
_START_TIMEOUT_S = 20.0
_KERNEL_HOLDS_S = 1.1
"""The kernel hands packets over a block at a time, at the latest after 1 s; what is in a block that
it has not handed over when tcpdump is told to stop is lost."""
_CLOSING = {
    "captured": re.compile(r"^(\d+) packets? captured", re.MULTILINE),
    "received_by_filter": re.compile(r"^(\d+) packets? received by filter", re.MULTILINE),
    "dropped_by_kernel": re.compile(r"^(\d+) packets? dropped by kernel", re.MULTILINE),
    "dropped_by_interface": re.compile(r"^(\d+) packets? dropped by interface", re.MULTILINE),
}

Side = Literal["leaving", "entering"]


@dataclass(frozen=True, slots=True)
class Point:
    """Where one tcpdump listens, and for what.

    Attributes:
        link: whose packets, ``"c2d3>bs1"``.
        side: of the link's queue.
        interface: in the fabric namespace.
        only: which direction, in tcpdump's language.
    """

    link: str
    side: Side
    interface: str
    only: Literal["inbound", "outbound"]

    @property
    def name(self) -> str:
        """Of its file, without ``.pcap``."""
        return interface_name(*self.link.split(">")) + (".in" if self.side == "entering" else "")


@dataclass(frozen=True, slots=True)
class Counts:
    """tcpdump's closing words, in packets; None: it did not come to say them."""

    captured: int | None = None
    received_by_filter: int | None = None
    dropped_by_kernel: int | None = None
    dropped_by_interface: int | None = None


def parse_closing(text: str) -> Counts:
    """What tcpdump said at its end."""
    found = {name: pattern.search(text) for name, pattern in _CLOSING.items()}
    return Counts(**{name: int(m[1]) for name, m in found.items() if m})


def chosen_links(network: Network, words: Iterable[str]) -> list[Link]:
    """The links that ``--pcap`` names, each once, in the network's order.

    Raises ``UserError`` for a word that names none.
    """
    chosen: set[str] = set()
    for word in words:
        chosen |= {k.name for k in _named(network, word)}
    return [k for name, k in network.links.items() if name in chosen]


def _named(network: Network, word: str) -> list[Link]:
    links = list(network.links.values())
    if word == "all":
        return list(network.shaped_links)
    if word in LINK_CLASSES:
        if found := [k for k in links if k.link_class == word]:
            return found
        raise UserError(f"--pcap {word}: this scenario has no link of that class")
    both = [k for k in links if word in (f"{k.source}-{k.target}", f"{k.target}-{k.source}")]
    if found := [network.links[word]] if word in network.links else both:
        return found
    cables = [f"{k.source}-{k.target}" for k in links]
    hint = nearest(word, [*(network.links if ">" in word else cables), *LINK_CLASSES, "all"])
    raise UserError(
        f"--pcap {word}: there is no such link{hint or '.'} Allowed: a cable such as {cables[0]}, "
        f"one direction of it, '{links[0].name}', a class "
        f"({', '.join(LINK_CLASSES)}), or all"
    )


def plan(network: Network, words: Iterable[str]) -> list[Point]:
    """Where to listen so that both sides of each link's queue are seen.

    Raises ``UserError`` for a word that names no link.
    """
    return [p for link in chosen_links(network, words) for p in _points(network, link)]


def _points(network: Network, link: Link) -> list[Point]:
    there, back = interface_name(link.source, link.target), interface_name(link.target, link.source)
    if link.spec is not None:
        return [
            Point(link.name, "entering", back, "inbound"),
            Point(link.name, "leaving", there, "outbound"),
        ]
    # An ideal cable has no queue, and one interface in the fabric: the switch's port.
    if network.nodes[link.source].is_unit:
        return [Point(link.name, "leaving", port_name(link.target, link.source), "inbound")]
    return [Point(link.name, "leaving", port_name(link.source, link.target), "outbound")]


class _Tcpdump:
    """One of them."""

    def __init__(self, point: Point, folder: Path, log: Path):
        self.point, self._folder, self.log = point, folder, log
        self._child: subprocess.Popen[bytes] | None = None
        self._died = False

    def start(self, options: RunOptions, ledger: Ledger, namespace: str) -> None:
        # Two files in turn: never more than the cap, and always at least half of it. Debian's
        # tcpdump would become user `tcpdump`, who may not write into a user's result folder.
        limits = ["-C", str(max(1, options.pcap_size_mb // 2)), "-W", "2", "-Z", "root"]
        how = [
            "--time-stamp-precision=nano",
            "-n",
            "-s",
            str(options.pcap_snaplen),
            "-B",
            str(_BUFFER_KIB),
        ]
        where = ["-i", self.point.interface, "-w", str(self._file())]
        self._child = processes.start(
            [
                "tcpdump",
                *how,
                *limits,
                *where,
                "--",
                self.point.only,
            ],
            environment=process_environment(ledger),
            log=self.log,
            namespace=namespace,
        )

    def _file(self, suffix: str = "") -> Path:
        return self._folder / f"{self.point.name}.pcap{suffix}"

    def is_listening(self) -> bool:
        """Whether packets are captured from now on. Raises ``ProcessError`` if it has ended."""
        if b"listening on" in self.log.read_bytes():
            return True
        if self._child is not None:
            processes.check_alive(self._child, f"tcpdump of {self.point.link}", self.log)
        return False

    def ask_to_stop(self) -> None:
        if self._child is None:
            return
        self._died = self._child.poll() is not None
        if not self._died:
            self._child.send_signal(signal.SIGINT)

    def stop(self) -> dict[str, Any]:
        """Wait for its end, make one file of what it wrote; what the manifest says of it."""
        if self._child is not None:
            try:
                self._child.wait(5.0)
            except subprocess.TimeoutExpired:
                processes.stop(self._child)
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        counts = parse_closing(said)
        report = {
            "file": f"pcap/{self._file().name}",
            "link": self.point.link,
            "side": self.point.side,
            "interface": self.point.interface,
            "only": self.point.only,
            **asdict(counts),
            "kept": self._join_files(counts.captured),
        }
        if self._died or counts.captured is None:
            report["error"] = " ".join(said.split()[-40:]) or "it ended without a word"
        return report

    def _join_files(self, captured: int | None) -> int | None:
        """One file of the two that tcpdump writes in turn; how many packets it holds."""
        written = [p for p in (self._file("0"), self._file("1")) if p.exists()]
        if not written:
            return 0
        older, *newer = sorted(written, key=lambda p: p.stat().st_mtime_ns)
        older.rename(self._file())
        for path in newer:
            with path.open("rb") as source, self._file().open("ab") as target:
                source.seek(24)
                shutil.copyfileobj(source, target, 1 << 20)
            path.unlink()
        return _records(self._file()) if newer else captured


def _records(path: Path) -> int:
    """Packets in a capture that this machine wrote."""
    data = path.read_bytes()
    count, position, length_at = 0, 24, struct.Struct("=I").unpack_from
    while position + 16 <= len(data):
        position += 16 + length_at(data, position + 8)[0]
        count += 1
    return count


def _start(dumps: list[_Tcpdump], options: RunOptions, ledger: Ledger, namespace: str) -> None:
    for dump in dumps:
        dump.start(options, ledger, namespace)
    deadline = time.monotonic() + _START_TIMEOUT_S
    waiting = dumps
    while waiting := [d for d in waiting if not d.is_listening()]:
        if time.monotonic() > deadline:
            link = waiting[0].point.link
            raise ProcessError(
                f"tcpdump of {link}", f"did not begin to listen within {_START_TIMEOUT_S:g} s"
            )
        time.sleep(0.01)


def _warnings(reports: list[dict[str, Any]]) -> list[str]:
    found = []
    for report in reports:
        if "error" in report:
            found.append(f"{report['file']}: the capture broke off: {report['error']}")
        dropped = (report["dropped_by_kernel"] or 0) + (report["dropped_by_interface"] or 0)
        if dropped:
            found.append(
                f"{report['file']}: {dropped} packets are missing, the kernel dropped them"
            )
        if report["kept"] is not None and report["kept"] < (report["captured"] or 0):
            found.append(
                f"{report['file']}: the size cap was reached, the first "
                f"{report['captured'] - report['kept']} packets were overwritten (--pcap-size-mb)"
            )
    return found


@contextmanager
def captured(
    network: Network, options: RunOptions, ledger: Ledger, namespace: str, writer: ResultWriter
) -> Iterator[None]:
    """Capture what ``options.pcap`` names for the length of a ``with`` block.

    The manifest's ``captures`` says what was captured, ``capture_warnings`` what is missing. A
    tcpdump that breaks off does not break the run. Raises ``ProcessError`` if one does not start.
    """
    points = plan(network, options.pcap)
    if not points:
        yield
        return
    logs = ledger.directory / "pcap"
    logs.mkdir(exist_ok=True)
    folder = make_folder(writer.folder / "pcap")
    dumps = [_Tcpdump(p, folder, logs / f"{p.name}.log") for p in points]
    try:
        _start(dumps, options, ledger, namespace)
        yield
    finally:
        time.sleep(_KERNEL_HOLDS_S)
        for dump in dumps:
            dump.ask_to_stop()
        reports = [dump.stop() for dump in dumps]
        warnings = _warnings(reports)
        writer.update_manifest(captures=reports, capture_warnings=warnings)
        for warning in warnings:
            say(f"warning: {warning}", err=True)
