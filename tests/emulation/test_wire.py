"""The devices' protocol: what is sent is what is read, and nothing else is let through."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulation.protocol.frames import (
    HEADER_BYTES,
    MAX_PAYLOAD,
    MAX_VALUE,
    Frame,
    FrameReader,
    Kind,
    WireError,
    decode,
    encode,
    error_frame,
)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(Kind))
    return Frame(
        kind,
        draw(st.integers(0, 0xFFFF)),
        draw(st.integers(0, 0xFFFFFFFF)),
        draw(st.integers(0, 0xFFFFFFFF)),
        draw(st.integers(0, MAX_PAYLOAD[kind])),
        draw(st.floats(0.0, MAX_VALUE[kind])),
    )


@given(frames())
def test_a_header_reads_as_it_was_written(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


def test_the_header_lies_as_documented() -> None:
    header = encode(Frame(Kind.TASK, 0x0102, 0x03040506, 7, 0x0A0B, 1.5))
    assert header == bytes.fromhex(
        "43454c54 01 02 0102 03040506 00000007 0000000000000a0b 3ff8000000000000"
    )
    assert len(header) == HEADER_BYTES == 32


@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_noise_is_no_frame(noise: bytes) -> None:
    try:
        frame = decode(noise)
    except WireError:
        return
    assert encode(frame)[:24] == noise[:24]


@pytest.mark.parametrize(
    ("offset", "patch", "complaint"),
    [
        (0, b"HTTP", "not a frame"),
        (4, b"\x02", "version 2"),
        (5, b"\x09", "type 9"),
        (16, b"\xff" * 8, "at most"),
        (24, struct.pack("!d", math.nan), "value nan"),
        (24, struct.pack("!d", -1.0), "value -1"),
        (24, struct.pack("!d", 1e300), "value 1e\\+300"),
    ],
)
def test_what_is_wrong_is_said(offset: int, patch: bytes, complaint: str) -> None:
    header = bytearray(encode(Frame(Kind.TASK, 1, 2, 1, 100, 3.0)))
    header[offset : offset + len(patch)] = patch
    with pytest.raises(WireError, match=complaint):
        decode(header)


@given(st.lists(st.integers(1, 40)), st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_frames_are_found_however_the_stream_is_cut(cuts: list[int], sizes: list[int]) -> None:
    sent = [(Frame(Kind.RESULT, 1, k, 1, n, 0.5), bytes(n)) for k, n in enumerate(sizes)]
    stream = b"".join(encode(f) + p for f, p in sent)
    reader, got, position = FrameReader(Kind.RESULT), [], 0
    for cut in [*cuts, len(stream)]:
        got += list(reader.feed(stream[position : position + cut]))
        position += cut
    assert got == sent


def test_a_frame_of_the_other_direction_is_refused() -> None:
    with pytest.raises(WireError, match="TASK in this direction"):
        list(FrameReader(Kind.RESULT).feed(encode(Frame(Kind.TASK, 1, 2, 1, 0, 0.0))))


def test_an_error_says_why_and_stays_short() -> None:
    frame, payload = error_frame("x" * 10_000)
    assert decode(encode(frame)) == frame
    assert len(payload) == frame.payload_bytes == 512
