"""Reads capture files: classic pcap and pcapng, from files and pipes, compressed or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.pcap.capture import LINK_HEADER_BYTES, Capture
from analysis.pcap.classic import read_classic
from analysis.pcap.pcapng import read_pcapng
from analysis.pcap.source import PCAPNG_MAGIC, is_capture, load, name_of, no_capture
from model.errors import UserError

_MAX_LENGTH_BYTES = 1 << 20
"""What a packet can have been on the wire: segmentation offload joins half of that at most."""


def read_capture(path: Path) -> Capture:
    """Read a capture; ``-`` is standard input. ``notes`` says what was left out of it.

    Raises ``UserError`` for a file that cannot be read, is no capture, or holds nothing but packets
    of link types that the lab does not decode.
    """
    data, size, note = load(path)
    if size == 0:
        raise UserError(f"{name_of(path)}: is empty, it has not even a file header")
    head = data[: min(size, 8)].tobytes()
    if not is_capture(head):
        raise UserError(no_capture(path, head))
    capture = (read_pcapng if head.startswith(PCAPNG_MAGIC) else read_classic)(path, data, size)
    known = np.isin(capture.link_types, list(LINK_HEADER_BYTES))
    kinds = {i.link_type for i in capture.interfaces}
    if kinds and not kinds & set(LINK_HEADER_BYTES) and not known.any():
        found = ", ".join(dict.fromkeys(i.link_name for i in capture.interfaces))
        raise UserError(
            f"{name_of(path)}: packets of link type {found}; the lab decodes Ethernet (1), raw IP "
            "(101, 228, 229), loopback (0, 108), PPP (9, 50) and Linux 'any' captures (113, 276)"
        )
    return replace(
        capture,
        lengths=_possible_lengths(capture),
        notes=[note] * bool(note) + capture.notes + _length_notes(capture),
    )


def _possible_lengths(capture: Capture) -> np.ndarray:
    """Lengths on the wire: at least what was captured, and that where the claim is absurd."""
    claimed = np.where(capture.lengths > _MAX_LENGTH_BYTES, 0, capture.lengths)
    return np.maximum(claimed, capture.captured)


def _length_notes(capture: Capture) -> list[str]:
    wrong = np.count_nonzero(_possible_lengths(capture) != capture.lengths)
    if not wrong:
        return []
    return [f"{name_of(capture.path)}: {wrong} of {len(capture)} packets: the length on the wire "
            "that the file claims is impossible; the captured bytes were counted"]  # fmt: skip
