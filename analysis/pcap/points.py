"""Which side of which link a capture shows; names for addresses and device numbers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from analysis.pcap.files import CaptureFiles
from analysis.pcap.source import STDIN
from model.addressing import host_ip
from model.errors import UserError
from model.network import build_network
from records.reader import open_result

_OF_A_LINK = re.compile(r"(?P<source>[^-]+)-(?P<target>[^-.]+)(?P<entering>\.in)?")


@dataclass(frozen=True, slots=True)
class Point:
    """A place where packets were seen: an interface of a capture, in one run.

    Attributes:
        run: position of its run; only points of one run are compared with each other.
        capture: the file, or of a rotated one the first, as text.
        link: ``a>b`` for ``a-b.pcap`` and ``a-b.in.pcap``; of a foreign file its name.
        cable: the same for both directions of a link.
        source, target: of the link; '' for a foreign file.
        entering: packets are seen before the link's queue rather than behind it.
        interface: its name in a capture of several, else ''.
        link_type: what its packets begin with.
    """

    run: int
    capture: str
    link: str
    cable: str
    source: str = ""
    target: str = ""
    entering: bool = False
    interface: str = ""
    link_type: int = 1

    def leads_to(self, after: Point) -> bool:
        """Whether a packet seen here, then there, waited in that link's queue and no other."""
        if self.run != after.run or after.entering or not after.source:
            return False
        if self.entering:
            return self.link == after.link
        return self.target == after.source and self.cable != after.cable

    @property
    def place(self) -> tuple[int, str, str]:
        """What both sides of a link's queue have in common."""
        return self.run, self.cable if not self.source else self.link, self.interface


def is_of_a_link(capture: CaptureFiles) -> bool:
    """Whether a capture has the name of a link, as the lab's own have."""
    return capture.files[0] != STDIN and _OF_A_LINK.fullmatch(capture.stem) is not None


def point_of(capture: CaptureFiles, run: int = 0, interface: str = "", link_type: int = 1) -> Point:
    """What a capture shows, by its name; of several interfaces none is known to be a link."""
    file = str(capture.files[0])
    match = _OF_A_LINK.fullmatch(capture.stem)
    if match is None or interface or capture.files[0] == STDIN:
        name = capture.stem + (f" [{interface}]" if interface else "")
        # A name is no identity: every foreign capture, and interface, is a cable of its own.
        cable = f"{file} [{interface}]"
        return Point(run, file, name, cable, interface=interface, link_type=link_type)
    source, target = match["source"], match["target"]
    cable = "-".join(sorted((source, target)))
    return Point(run, file, f"{source}>{target}", cable, source, target, bool(match["entering"]),
                 link_type=link_type)  # fmt: skip


@dataclass(frozen=True)
class Names:
    """Names of hosts and devices, where the result folder around a capture tells them.

    Attributes:
        hosts: IPv4 address as a number → name.
        devices: names by position.
        speedup: scenario seconds per captured second.
        verdict: of the run on its own numbers; "" where there is no run.
    """

    hosts: dict[int, str] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    speedup: float = 1.0
    verdict: str = ""

    def host(self, address: int) -> str:
        """A host's name, or its IPv4 address."""
        return self.hosts.get(address) or str(ipaddress.IPv4Address(address))

    def device(self, number: int) -> str:
        """A device's name, or its number."""
        return self.devices[number] if number < len(self.devices) else f"device {number}"


def result_folder(file: Path) -> Path | None:
    """The result folder that a capture lies in, or None."""
    folder = file.resolve().parent.parent
    return folder if file != STDIN and (folder / "manifest.json").is_file() else None


def names_around(file: Path) -> Names:
    """Names from the result folder that a capture lies in, or none."""
    folder = result_folder(file)
    if folder is None:
        return Names()
    try:
        result = open_result(folder)
        network = build_network(result.scenario)
    except UserError:
        return Names()  # a capture is readable without the run that made it
    hosts = {int(ipaddress.IPv4Address(host_ip(network, u))): u.name for u in network.units}
    speedup = float(result.manifest.get("speedup", 1.0))
    return Names(hosts, [d.name for d in network.devices], speedup, result.verdict)
