"""Which side of which link a capture file shows; names for addresses and device numbers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from model.addressing import host_ip
from model.errors import UserError
from model.network import build_network
from records.reader import open_result

_OF_A_LINK = re.compile(r"(?P<source>[^-]+)-(?P<target>[^-.]+)(?P<entering>\.in)?")
_FILES = ("*.pcap", "*.pcap[01]")
"""A killed run leaves the two files that tcpdump writes in turn."""


@dataclass(frozen=True, slots=True)
class Point:
    """A capture file, as a place where packets were seen.

    Attributes:
        file: it.
        link: ``a>b`` for ``a-b.pcap`` and ``a-b.in.pcap``; of a foreign file its name.
        cable: the same for both directions of a link.
        source, target: of the link; '' for a foreign file.
        entering: packets are seen before the link's queue rather than behind it.
    """

    file: Path
    link: str
    cable: str
    source: str = ""
    target: str = ""
    entering: bool = False

    def leads_to(self, after: Point) -> bool:
        """Whether a packet seen here, then there, waited in that link's queue and no other."""
        if after.entering or not after.source:
            return False
        if self.entering:
            return self.link == after.link
        return self.target == after.source and self.cable != after.cable


def point_of(file: Path) -> Point:
    """What a file shows, by its name."""
    name = file.name.rsplit(".pcap", 1)[0]
    match = _OF_A_LINK.fullmatch(name)
    if match is None:
        return Point(file, name, name)
    source, target = match["source"], match["target"]
    cable = "-".join(sorted((source, target)))
    return Point(file, f"{source}>{target}", cable, source, target, bool(match["entering"]))


def capture_files(paths: list[Path]) -> list[Path]:
    """Files as given; of a folder those in it, or in its ``pcap/``. Raises ``UserError``."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = path / "pcap" if (path / "pcap").is_dir() else path
        files = sorted(f for pattern in _FILES for f in inside.glob(pattern))
        if not files:
            raise UserError(f"{path}: holds no capture; ask a run for some with --pcap LINK")
        found += files
    return list(dict.fromkeys(found))


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
        """A host's name, or its address."""
        return self.hosts.get(address) or str(ipaddress.IPv4Address(address))

    def device(self, number: int) -> str:
        """A device's name, or its number."""
        return self.devices[number] if number < len(self.devices) else f"device {number}"


def names_around(file: Path) -> Names:
    """Names from the result folder that a capture lies in, or none."""
    folder = file.resolve().parent.parent
    if not (folder / "manifest.json").is_file():
        return Names()
    try:
        result = open_result(folder)
        network = build_network(result.scenario)
    except UserError:
        return Names()  # a capture is readable without the run that made it
    hosts = {int(ipaddress.IPv4Address(host_ip(network, u))): u.name for u in network.units}
    speedup = float(result.manifest.get("speedup", 1.0))
    return Names(hosts, [d.name for d in network.devices], speedup, result.verdict)
