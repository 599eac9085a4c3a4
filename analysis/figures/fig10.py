"""Fig. 10: CPU usage, FFmpeg's by role and that of whole nodes."""

from __future__ import annotations

from analysis.figures import Source
from analysis.figures.prototype import ROLES, bars
from analysis.style import BLACK, GREY, Drawing

_KINDS = {**ROLES, "device": ("whole device", GREY), "whole edge": ("whole edge", BLACK)}


def draw(source: Source) -> Drawing:
    """Of all emulations of real work that can be used."""
    return bars(
        source,
        "CPU per node (% of a core)",
        {
            "": lambda p: {
                **{role: 100 * v for role, v in p.coder_share.items()},
                "device": 100 * p.cpu_share["device"],
                "whole edge": 100 * p.cpu_share["edge"],
            }
        },
        _KINDS,
    )
