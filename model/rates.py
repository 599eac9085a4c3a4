"""Rates on the wire in bytes and seconds. MB = 10^6 bytes, Mbps = 10^6 bit/s."""

from __future__ import annotations

from typing import Final, TypeVar

from model.aliases import FloatArray

Quantity = TypeVar("Quantity", float, FloatArray)

BITS_PER_BYTE: Final = 8.0
BYTES_PER_MB: Final = 1e6
MBPS_PER_MB_S: Final = 8.0


def bytes_per_s(rate_mbps: Quantity) -> Quantity:
    """Return a rate in bytes/s."""
    return rate_mbps * 1e6 / 8


def transmission_s(size_bytes: Quantity, rate_mbps: float) -> Quantity:
    """Return the time that bytes take at a rate, s."""
    return size_bytes * 8 / (rate_mbps * 1e6)
