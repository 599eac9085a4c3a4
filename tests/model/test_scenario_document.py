"""docs/scenarios.md lists every key of a scenario, and no other."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

from model.scenario import LinkClass, LinkSpec, Scenario, Section

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "scenarios.md"


def keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Paths of all values, ``[]`` for the members of a list, ``CLASS`` for a class of links."""
    for name, field in section.model_fields.items():
        path = f"{prefix}{name}"
        inner = [field.annotation, *typing.get_args(field.annotation)]
        parts = [k for k in inner if isinstance(k, type) and issubclass(k, Section)]
        if not parts:
            yield path
        elif parts[0] is LinkSpec:
            assert name in typing.get_args(LinkClass)
            yield from keys(LinkSpec, f"{prefix}CLASS.")
        else:
            several = typing.get_origin(field.annotation) is tuple
            yield from keys(parts[0], f"{path}[]." if several else f"{path}.")


def test_every_key_is_documented() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    table = listed[listed.index("name") :]  # before it: the scenarios that come with the lab
    assert len(table) == len(set(table))
    assert set(table) == set(keys(Scenario))
