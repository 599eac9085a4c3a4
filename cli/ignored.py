"""Refuse options that mean nothing beside others: a result would seem to be made with them."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.core import ParameterSource


def refuse(names: Iterable[str], why: str) -> None:
    """Raise ``UsageError`` for what was given of some of the command's parameters.

    Args:
        names: parameters of the command that runs, as Python has them.
        why: ends the sentence "--pcap, --speedup: no meaning ...".
    """
    context = click.get_current_context()
    asked = set(names)
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in asked
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: no meaning {why}")
