"""Hints on how to write a number that an option of the command line does not read."""

from __future__ import annotations

import re

from model.errors import UserError
from model.scenario.yaml_reader import read_value
from model.text import how_to_write

_REFUSED = re.compile(r"'([^']{1,40})' is not a valid (?:integer|float)( range)?\.?$")


def with_hint(message: str) -> str:
    """Say what a number must be in click's message that refuses it: ``'1e2' … ; write 100``."""
    match = _REFUSED.search(message)
    if match is None:
        return message
    try:
        hint = how_to_write(read_value(match[1], "value"))
    except UserError:
        hint = ""
    return f"{message.rstrip('.').removesuffix(' range')}{hint}."
