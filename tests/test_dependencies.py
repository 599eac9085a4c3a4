"""What set-up installs: pinned exactly, as setup.cfg asks, and nothing that nobody asks for."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
NOT_LOCKED = {"examples", "bench"}
"""Extras that set-up does not install; setup.cfg says why."""


def lock() -> dict[str, str]:
    """Name → version, of the lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._]+", pin) for pin in pins)
    found: dict[str, str] = {
        canonicalize_name(name): version for name, _, version in (p.partition("==") for p in pins)
    }
    assert len(found) == len(pins), "a package is pinned twice"
    return found


def asked_for() -> list[Requirement]:
    """What setup.cfg names, of all extras that are in the lock."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    texts = [
        config["options"]["install_requires"],
        *(extras[e] for e in extras if e not in NOT_LOCKED),
    ]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


PINS = lock()


@pytest.mark.parametrize("wanted", asked_for(), ids=str)
def test_the_lock_has_what_is_asked_for(wanted: Requirement) -> None:
    assert PINS[canonicalize_name(wanted.name)] in wanted.specifier


def test_set_up_names_the_versions_of_the_lock() -> None:
    script = (ROOT / "tools" / "setup.sh").read_text()
    named = re.findall(r"^(?:TORCH|RYU)='([a-z]+)==([^']+)'", script, re.MULTILINE)
    assert named == [("torch", PINS["torch"]), ("ryu", PINS["ryu"])]


def needed_by(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What an installed package asks for here, with some of its extras."""
    found = []
    for text in requires(name) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
            found.append(requirement)
    return found


def test_everything_in_the_lock_is_needed_and_all_that_is_needed_is_in_it() -> None:
    reached: dict[str, set[str]] = {}
    todo = asked_for()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in reached and wanted.extras <= reached[name]:
            continue
        reached.setdefault(name, set()).update(wanted.extras)
        try:
            todo += needed_by(name, frozenset(reached[name]))
        except PackageNotFoundError:
            assert name not in PINS, f"{name} is in the lock and not installed"
    assert {n for n in PINS if n not in reached} == set()
    assert {n for n in reached if n not in PINS} == set()
