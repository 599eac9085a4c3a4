"""docs/cli.md names the verbs that there are."""

from __future__ import annotations

import re
from pathlib import Path

from cli.main import SHELL_VERBS, VERBS

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "cli.md").read_text("utf-8")
NAMED = set(re.findall(r"\./lab ([a-z][a-z0-9-]*)", TEXT))


def test_verbs_of_the_document_exist() -> None:
    known = {verb for verbs in VERBS.values() for verb in verbs} | {v for v, _ in SHELL_VERBS}
    assert known >= NAMED


def test_how_to_look_and_to_run_is_told() -> None:
    assert {*VERBS["Look"], *VERBS["Run"], *(v for v, _ in SHELL_VERBS)} <= NAMED
