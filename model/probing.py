"""Which targets a device pings in which slot: the same in both worlds."""

from __future__ import annotations

from model.observation import DeviceProfile
from model.scenario import ProbeSpec


def pinged(profile: DeviceProfile, spec: ProbeSpec, slot: int) -> tuple[int, ...]:
    """Indices in ``profile.targets`` that are pinged at the start of a slot.

    Each edge (and the cloud) once in ``edge_every_slots`` slots, spread over them; the cell's
    other devices in turn, ``peers_per_slot`` a slot.
    """
    peers = [k for k, kind in enumerate(profile.kinds) if kind == "device"]
    far = [k for k, kind in enumerate(profile.kinds) if kind in ("edge", "cloud")]
    due = [k for j, k in enumerate(far) if (slot + j) % spec.edge_every_slots == 0]
    count = min(spec.peers_per_slot, len(peers))
    turn = [peers[(slot * count + j) % len(peers)] for j in range(count)]
    return (*turn, *due)
