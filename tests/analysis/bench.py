"""How fast captures are read: ``./lab python -m tests.analysis.bench [PACKETS]``.

Half of the packets enter a queue, the other half leave it: a transfer over ten connections.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from analysis.pcap.fields import packet_table
from analysis.pcap.reader import read_capture
from analysis.pcap.summary import summarise
from tests.analysis.captures import segment

_CONNECTIONS = 10


def write_transfer(path: Path, packets: int, late_s: float) -> None:
    """A capture of ``packets`` full segments at 1000 a second."""
    template = np.frombuffer(segment(0, bytes(1448))[:128], np.uint8)
    records = np.zeros((packets, 16 + len(template)), np.uint8)
    records[:, 16:] = template
    number = np.arange(packets)
    time_ns = np.int64(10**18 + late_s * 1e9) + number * 1_000_000

    def put(at: int, values: np.ndarray, kind: str) -> None:
        raw = values.astype(kind)
        records[:, at : at + raw.itemsize] = raw.view(np.uint8).reshape(packets, -1)

    within = number // _CONNECTIONS
    put(0, time_ns // 10**9, "<u4")
    put(4, time_ns % 10**9, "<u4")
    put(8, np.full(packets, len(template)), "<u4")
    put(12, np.full(packets, 1514), "<u4")
    put(16 + 18, within % 65536, ">u2")
    put(16 + 34, 40000 + number % _CONNECTIONS, ">u2")
    put(16 + 38, (within * 1448) % 2**32, ">u4")
    put(16 + 58, number, ">u4")
    header = np.array([0xA1B23C4D, 0x00040002, 0, 0, 128, 1], "<u4")
    path.write_bytes(header.tobytes() + records.tobytes())


def main(packets: int) -> None:
    """Write two captures, time their reading."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "c1d1-bs1.in.pcap"), Path(folder, "c1d1-bs1.pcap")]
        for late_s, path in zip((0.0, 0.25), files, strict=True):
            write_transfer(path, packets // 2, late_s)
        begin = time.perf_counter()
        for path in files:
            packet_table(read_capture(path))
        read = time.perf_counter()
        summary = summarise(files)
        end = time.perf_counter()
    assert summary.links["waits"].to_list() == [packets // 2]
    click.echo(
        f"{packets} packets: headers in {read - begin:.2f} s, every table in {end - read:.2f} s"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
