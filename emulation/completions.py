"""What a shell completes in the options of a run: names of scenarios and policies, and keys.

Called in the user's process while a line is typed, so it must be quick, and quiet about mistakes
in what is typed so far. A user's own policy is not run for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from model.errors import UserError
from model.shipped_scenarios import scenario_names

if TYPE_CHECKING:
    from model.scenario import Scenario, Section

# Scenarios and policies take half a second to import, which the help of a verb need not wait for.
_ANY = "mini"
"""The scenario whose keys are offered while none is named."""


def offer_scenarios(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return names that fit, else files."""
    names = [CompletionItem(name) for name in scenario_names() if name.startswith(begun)]
    return names or [CompletionItem(begun, type="file")]


def offer_policies(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the lab's policies that fit."""
    from rl import policies

    return [CompletionItem(name) for name in policies.names() if name.startswith(begun)]


def offer_settings(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return keys of the scenario that is named on the line, or of any; then a key's words."""
    return items(scenario_keys(_scenario(ctx)), begun)


def offer_parameters(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return parameters of the policy that is named on the line, else of the scenario's default."""
    from rl import policies

    name = ctx.params.get("policy") or policies.default_policy(_scenario(ctx))
    if ":" in name:
        return []
    try:
        found = policies.parameters(policies.policy_class(name))
    except UserError:
        return []
    return items([(key, _words(type(p.default))) for key, p in found.items()], begun)


def items(keys: Iterable[tuple[str, str]], begun: str) -> list[CompletionItem]:
    """Return ``KEY=`` for each key that fits, or ``KEY=VALUE`` once the key is typed.

    Keys come with what they take: words apart by `` or ``, or anything else, which is not offered.
    """
    typed, equals, value = begun.partition("=")
    if not equals:
        return [CompletionItem(f"{key}=") for key, _ in keys if key.startswith(typed)]
    words = next((kind for key, kind in keys if key == typed), "")
    found = [word.strip() for word in words.split(" or ")] if " or " in words else []
    return [CompletionItem(f"{typed}={word}") for word in found if word.startswith(value)]


def _scenario(ctx: click.Context) -> Scenario:
    """Return the scenario that is named on the line as far as it is typed, or any."""
    from model.scenario.load import load_scenario

    named = ctx.params.get("scenario") or ctx.params.get("name") or ctx.params.get("scenarios")
    # Where an option at the end of the line lacks its value, click leaves the arguments alone.
    words = named if isinstance(named, tuple) else [named] if named else ctx.args
    for word in words:
        with suppress(UserError):
            return load_scenario(str(word))
    return load_scenario(_ANY)


def scenario_keys(scenario: Scenario) -> list[tuple[str, str]]:
    """Return every key that ``--set`` takes, as ``network.e2d.rate_mbps``, and what it takes."""
    return list(_keys(scenario, ""))


def _keys(section: Section, above: str) -> Iterator[tuple[str, str]]:
    from model.scenario import Section

    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        key = f"{above}{name}"
        if isinstance(value, Section):
            yield from _keys(value, f"{key}.")
            continue
        yield key, _words(field.annotation)
        for k, one in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(one, Section):
                yield from _keys(one, f"{key}.{k}.")


def _words(kind: Any) -> str:
    if kind is bool:
        return "true or false"
    return " or ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else ""
