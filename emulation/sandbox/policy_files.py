"""The file of a user's own policy: found and checked without running any of it.

The user's folder is never on the module path of a process that has privileges: libraries look for
optional modules (pyarrow for pandas, for one), and would find a namesake beside the policy.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulation.host.uids import FIRST
from model.aliases import Value
from model.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent.parent


def user_folder() -> Path | None:
    """The folder that a policy of one's own lies in: the current one; None if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def is_users(policy: str) -> bool:
    """Whether a policy is a user's own, ``package.module:Class``, and not the lab's."""
    return ":" in policy


def policy_file(name: str, folder: Path | None) -> Path | None:
    """Where the module of ``package.module:Class`` lies, found without running any of it.

    ``folder`` is the user's, looked through last.
    """
    module, colon, _ = name.partition(":")
    if not colon or module in sys.modules:
        return None
    relative = Path(*module.split("."))
    places = [*sys.path, *([str(folder)] if folder else [])]
    for place in places:
        for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
            path = Path(place or ".").resolve() / candidate
            if path.is_file():
                return path
    return None


def place_of(policy: str, file: Path) -> list[Path]:
    """The folder that a policy's module is named from, where that is neither ours nor a library."""
    depth = policy.partition(":")[0].count(".") + (file.name == "__init__.py")
    place = file.parents[depth]
    own = (PROJECT, Path(sys.prefix), Path(sys.base_prefix))
    return [] if any(place.is_relative_to(p) for p in own) else [place]


_FILE = re.compile(
    r"\.(pth?|npz|npy|onnx|pkl|pickle|joblib|h5|safetensors|zip|json|ya?ml|csv|txt)$"
)
"""Names that nothing but a file has."""


def with_absolute_files(policy: str, params: Mapping[str, Value]) -> dict[str, Value]:
    """Return the parameters of a user's own policy, files by their absolute paths.

    A relative path is meant from the caller's folder, which devices' processes are not in. Raises
    ``UserError`` for what can only be the name of a file and is not there.
    """
    if ":" not in policy:
        return dict(params)
    return {name: _absolute(policy, name, value) for name, value in params.items()}


def _absolute(policy: str, name: str, value: Value) -> Value:
    if not isinstance(value, str) or not value or "\0" in value:
        return value
    path = Path(value).expanduser()
    try:
        is_file = path.is_file()
    except OSError:
        return value
    if is_file:
        return str(path.resolve())
    if _FILE.search(value) and not path.exists():
        raise UserError(f"policy '{policy}': {name}={value}: there is no file {path.absolute()}")
    return value


def hidden_folders(out: Path, scenario: str) -> tuple[str, ...]:
    """Return the folders that nodes do not see: they tell of networks and runs.

    Never one that code is imported from. ``out``: the folder of results.
    """
    out = out.resolve()
    code = (PROJECT, Path.cwd(), Path(sys.prefix))
    if any(path.is_relative_to(out) for path in code):
        out /= scenario
    folders = {PROJECT / "scenarios", PROJECT / "results", out}
    # What lies in a hidden folder is hidden with it, and is not there any more to be hidden.
    return tuple(str(f) for f in sorted(folders) if not folders & set(f.parents))


def require_files_of_policy(
    policy: str, params: Mapping[str, Value], hidden: Sequence[str]
) -> None:
    """Raise ``UserError`` if the process of a policy could not read a file that it is given.

    Asked as such a process, before anything starts; only root can ask. The policy's own source is
    read for it. ``hidden``: folders that tell of networks and runs.
    """
    named = [Path(v) for v in params.values() if isinstance(v, str) and Path(v).is_absolute()]
    for path in (path for path in named if path.is_file()):
        real = path.resolve()
        inside = next((f for f in (*hidden, "/run", "/sys") if real.is_relative_to(f)), None)
        if inside is not None:
            raise UserError(
                f"policy '{policy}': {path} lies in {inside}, which devices do not see, for it "
                "tells of networks and runs; copy it elsewhere"
            )
        if os.geteuid() == 0 and not _can_read(path, FIRST):
            raise UserError(_unreadable(policy, path, FIRST))


def _can_read(path: Path, uid: int) -> bool:
    test = subprocess.run(
        ["/usr/bin/test", "-r", str(path)], user=uid, group=uid, extra_groups=[], check=False
    )
    return test.returncode == 0


def _unreadable(policy: str, path: Path, uid: int) -> str:
    return (
        f"policy '{policy}': {path} cannot be read by uid {uid}, as which policies run; put it "
        "where every user may read it"
    )
