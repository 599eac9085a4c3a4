"""Where a result comes from: code, packages, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from records.ownership import user_behind_sudo

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "numpy", "networkx", "pydantic", "pyyaml", "pyarrow", "torch", "numba", "pettingzoo",
    "ryu", "os-ken", "pyroute2", "mininet",
)  # fmt: skip
_DECIDES = {
    "simulation": ("model", "rl/policies", "rl/simulator", "experiments/guest.py",
                   "experiments/guest_agents.py", "experiments/simulated.py"),
    "emulation": ("model", "rl/policies", "controller", "emulation", "topologies"),
}  # fmt: skip
"""World → files and folders whose code decides what a run measures."""
_ENTRIES = {"cli/__main__.py": (), "emulation/run.py": ("python", "-m", "emulation.run")}
"""File that Python runs → how that is typed; (): as ``./lab``."""


def utc_now() -> str:
    """Now, as ISO 8601 in UTC to the millisecond: ``"2024-05-01T12:00:00.000Z"``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _git(*arguments: str) -> str | None:
    # The checkout may belong to the user behind sudo; and git must not rewrite its index as root.
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    # GIT_DIR and its like, which a hook or an editor sets, name another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=20, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def git_state() -> dict[str, object] | None:
    """Commit of the checkout and whether tracked files differ from it; None outside of git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


@cache
def code_sha256(world: Literal["emulation", "simulation"]) -> str:
    """Return a hash of the code that decides what a run in a world measures, as it is on disk."""
    digest = hashlib.sha256()
    for name in _DECIDES[world]:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def as_typed(arguments: Sequence[str]) -> list[str]:
    """Return ``sys.argv`` as a shell takes it: ``["./lab", "run", "mini"]``.

    The program is named from where it was called; other programs than the lab's stay as they are.
    """
    if not arguments:
        return []
    for entry, typed in _ENTRIES.items():
        if Path(arguments[0]) == ROOT / entry:
            return [*(typed or (_lab(),)), *arguments[1:]]
    return list(arguments)


def _lab() -> str:
    try:
        return "./lab" if Path.cwd() == ROOT else str(ROOT / "lab")
    except FileNotFoundError:  # the folder it was called from has been removed
        return str(ROOT / "lab")


def command_text(arguments: Sequence[str]) -> str:
    """Return ``sys.argv`` as a line that can be pasted into a shell, quoted, with ``sudo``."""
    typed = as_typed(arguments)
    return shlex.join(["sudo", *typed] if typed and user_behind_sudo() else typed)


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a result, as far as they are installed."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def machine() -> Mapping[str, object]:
    """Kernel, CPU model, number of usable cores, memory."""
    return {
        "kernel": platform.release(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
    }
