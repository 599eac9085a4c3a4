"""What a user's policy is, read from its class in a process behind walls, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from emulation.protocol.simulator_codec import Facts
from emulation.sandbox.launcher_client import guests
from emulation.sandbox.policy_files import user_folder, with_absolute_files
from model.aliases import Value


def facts_of(policy: str) -> Facts:
    """The facts of a user's policy. Raises ``UserError`` if there is no such policy."""
    return _facts(policy, user_folder())


@cache
def _facts(policy: str, _folder: Path | None) -> Facts:
    with guests(policy, {}) as (guest,):
        return guest.describe()


def require_parameters(policy: str, params: Mapping[str, Value]) -> Facts:
    """The facts of a user's policy, one of which has been made with these parameters.

    Raises ``UserError`` if there is no such policy, or the parameters do not fit.
    """
    files = with_absolute_files(policy, params)
    with guests(policy, files) as (guest,):
        return guest.describe(files)
