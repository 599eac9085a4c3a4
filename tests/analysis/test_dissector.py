"""The Wireshark dissector reads task headers as the lab writes them."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from cli.main import main
from cli.pcap import DISSECTOR
from model import wire_format as wire
from model.addressing import TASK_PORT
from model.wire_format import HEADER, HEADER_BYTES, MAGIC, VERSION, Kind
from tests.analysis.captures import segment, write

TEXT = DISSECTOR.read_text()
FRAMES = [
    (Kind.HELLO, 3, 0, 0, 0, 0.0),
    (Kind.TASK, 3, 17, 1, 5000, 2.5),
    (Kind.ARRIVED, 3, 17, 1, 0, 1.25),
    (Kind.RESULT, 65535, 2**32 - 1, 2, 256, 0.75),
    (Kind.UNSERVED, 4, 18, 3, 6, 1e9),
    (Kind.ERROR, 65535, 2**32 - 1, 0, 7, 0.0),
]


def header(frame: tuple[Kind, int, int, int, int, float]) -> bytes:
    return HEADER.pack(MAGIC, VERSION, *frame)


def stream() -> list[bytes]:
    """Every kind of frame in a segment of its own, one behind the other."""
    return [segment(HEADER_BYTES * k, header(one)) for k, one in enumerate(FRAMES)]


def test_its_layout_is_the_headers() -> None:
    layout = [(n, int(at), int(size)) for n, at, size in
              re.findall(r'^  \{ "(\w+)", (\d+), (\d+) \},$', TEXT, re.MULTILINE)]  # fmt: skip
    sizes = [struct.calcsize(f"!{code}") for code in re.findall(r"\d*[a-zA-Z]", HEADER.format)]
    assert [size for _, _, size in layout] == sizes
    assert [at for _, at, _ in layout] == [sum(sizes[:k]) for k in range(len(sizes))]
    offsets = {name: at for name, at, _ in layout}
    assert offsets == {
        "magic": 0, "version": 4, "type": wire.KIND_AT, "device": wire.DEVICE_AT,
        "task": wire.TASK_AT, "attempt": wire.ATTEMPT_AT, "payload_bytes": wire.PAYLOAD_AT,
        "value": wire.VALUE_AT,
    }  # fmt: skip


def test_its_constants_are_the_labs() -> None:
    types = {int(k): name for k, name in re.findall(r'^  \[(\d)\] = "(\w+)",$', TEXT, re.MULTILINE)}
    assert types == {int(kind): kind.name for kind in Kind}
    constants = dict(re.findall(r"^local (\w+) = \"?(\w+)\"?$", TEXT, re.MULTILINE))
    assert constants == {
        "HEADER_BYTES": str(HEADER_BYTES), "MAGIC": MAGIC.decode(), "PORT": str(TASK_PORT),
    }  # fmt: skip


def shown(path: Path, *fields: str, only: str = "celt") -> list[list[str]]:
    """What tshark reads of some fields, a list a packet, several headers apart by commas."""
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("tshark is not installed")
    command = [program, "-n", "-r", str(path), "-X", f"lua_script:{DISSECTOR}", "-Y", only,
               "-T", "fields", *(word for name in fields for word in ("-e", name))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if "Lua" in done.stderr and "not" in done.stderr:
        pytest.skip("this tshark has no Lua")
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_tshark_reads_every_field_of_every_type(tmp_path: Path) -> None:
    path = write(tmp_path / "c.pcap", enumerate(stream()))
    names = ("type", "device", "task", "attempt", "payload_bytes", "value")
    rows = shown(path, *(f"celt.{name}" for name in names))
    found = [(*map(int, row[:5]), float(row[5])) for row in rows]
    assert found == [tuple(map(float, one)) for one in FRAMES]


def test_the_value_has_its_meaning(tmp_path: Path) -> None:
    path = write(tmp_path / "c.pcap", enumerate(stream()))
    assert [row[0] for row in shown(path, "celt.task", only="celt.work_ghz_s == 2.5")] == ["17"]
    assert [row[0] for row in shown(path, "celt.type", only="celt.processing_s > 0")] == ["4", "6"]
    assert [row[0] for row in shown(path, "celt.type", only="celt.arrived_s == 1.25")] == ["3"]


def test_several_headers_in_a_segment_and_data_in_the_next(tmp_path: Path) -> None:
    both = header(FRAMES[2]) + header(FRAMES[3]) + bytes(256)
    packets = [
        segment(0, both, back=True),
        segment(0, bytes(900)),
        segment(0, header(FRAMES[1])[:20]),
    ]
    path = write(tmp_path / "c.pcap", enumerate(packets), snaplen=400)
    assert shown(path, "celt.type") == [["3,4"]]
    cut = write(tmp_path / "cut.pcap", enumerate(packets), snaplen=128)
    assert shown(cut, "celt.type") == [["3"]]


def test_the_verb_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pcap", "--dissector"]) == 0
    said = capsys.readouterr()
    assert Path(said.out.strip()) == DISSECTOR
    assert "wireshark -X lua_script:" in said.err
