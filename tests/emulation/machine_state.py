"""What a run may not leave behind, as one comparable picture of the machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

from emulation.commands import run
from emulation.ledger import RUN_VARIABLE, RUNS_DIR, living_runs
from emulation.netlink import existing_namespaces

RUN_NAMESPACE = re.compile(r"ce([0-9a-f]{4})-")


def _run_ids_of_processes() -> set[str]:
    mark = f"{RUN_VARIABLE}=".encode()
    found: set[str] = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            values = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        found |= {v.removeprefix(mark).decode() for v in values if v.startswith(mark)}
    return found


def picture() -> dict[str, object]:
    """What runs have left: by id, of those that are not alive; and the root namespace's links.

    A run that somebody else has under way meanwhile is none of a test's business.
    """
    namespaces = [RUN_NAMESPACE.match(n) for n in existing_namespaces()]
    directories = {p.name for p in RUNS_DIR.glob("*")} if RUNS_DIR.exists() else set()
    processes = _run_ids_of_processes()
    dead = (directories | processes | {m[1] for m in namespaces if m}) - set(living_runs())
    return {
        "left by": sorted(dead),
        "links": sorted(link["ifname"] for link in json.loads(run(["ip", "-j", "link"]))),
        "qdiscs": run(["tc", "qdisc"]),
    }
