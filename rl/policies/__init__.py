"""What decides on a device: policies behind one protocol, free of torch.

``create("greedy", {"price": False})`` makes one; ``"package.module:Class"`` names one of your own.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import UserError, nearest
from rl.policies import weights
from rl.policies.base import Policy
from rl.policies.learned import Learned

if TYPE_CHECKING:
    from model.scenario import Scenario

_REGISTRY = {
    "ago": "rl.policies.ago:Ago",
    "ago-random": "rl.policies.ago_random:AgoRandom",
    "centralised": "rl.policies.centralised:Centralised",
    "greedy": "rl.policies.greedy:Greedy",
    "local": "rl.policies.local:Local",
    "m2ppo": "rl.policies.learned:M2ppo",
    "maa3c": "rl.policies.learned:Maa3c",
    "madqn": "rl.policies.learned:Madqn",
    "mappo": "rl.policies.learned:Mappo",
    "oracle": "rl.policies.oracle:Oracle",
    "own-edge": "rl.policies.own_edge:OwnEdge",
    "power-of-two": "rl.policies.power_of_two:PowerOfTwo",
    "random": "rl.policies.random:Random",
    "self-biased": "rl.policies.self_biased:SelfBiased",
    "static-split": "rl.policies.static_split:StaticSplit",
    "student": "rl.policies.learned:Student",
    "threshold": "rl.policies.threshold:Threshold",
}

Value = bool | int | float | str


def names() -> tuple[str, ...]:
    """Names of the policies that come with the lab."""
    return tuple(sorted(_REGISTRY))


def create(name_or_path: str, params: Mapping[str, Value] | None = None) -> Policy:
    """A new policy, one per device.

    Args:
        name_or_path: one of ``names()``, or ``"package.module:Class"``.
        params: keyword arguments of its constructor; text is converted to the default's type.

    Raises:
        UserError: the policy or a parameter does not exist, or a value does not fit.
    """
    kind = policy_class(name_or_path)
    return kind(**_checked(kind, name_or_path, params or {}))


def completed(name: str, params: Mapping[str, Value], scenario: Scenario) -> dict[str, Value]:
    """The parameters; a learner's with a checkpoint: the one named, or what is shipped.

    Raises ``UserError`` if the policy does not exist, or its checkpoint is missing, damaged, or
    was trained for other actions than the scenario has.
    """
    kind = policy_class(name)
    if not issubclass(kind, Learned):
        return dict(params)
    named = params.get("checkpoint")
    path = Path(str(named)) if named else weights.best_shipped(kind.algorithm, scenario.name)
    if path is None:
        raise UserError(
            f"no checkpoint of {name} is shipped for {scenario.name}; train one: "
            f"./lab train {scenario.name} --algo {name}, then --param checkpoint=FILE"
        )
    found = weights.load(str(path.resolve()))
    found.require_fit(scenario.decision.rates_mbps, scenario.slot_s)
    return {**params, "checkpoint": found.path}


def default_policy(scenario: Scenario) -> str:
    """``m2ppo`` where a checkpoint of it is shipped for the scenario, else the best rule."""
    return "m2ppo" if weights.shipped("m2ppo", scenario.name) else "self-biased"


def policy_class(name_or_path: str) -> type[Policy]:
    """The class behind a name or a path; raises ``UserError`` if there is none."""
    path = _REGISTRY.get(name_or_path, name_or_path)
    module_name, colon, class_name = path.partition(":")
    if not colon:
        raise UserError(
            f"there is no policy '{name_or_path}'{nearest(name_or_path, _REGISTRY) or '.'} "
            f"There are: {', '.join(names())}, or name your own as package.module:Class"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise UserError(f"policy '{name_or_path}': cannot import {module_name}: {error}") from error
    except AttributeError as error:
        raise UserError(f"policy '{name_or_path}': {module_name} has no {class_name}") from error
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise UserError(f"policy '{name_or_path}': {class_name} is not a rl.policies.base.Policy")
    return found


def parameters(kind: type[Policy]) -> dict[str, inspect.Parameter]:
    """Parameters of a policy's constructor by name, with their defaults."""
    if kind.__init__ is object.__init__:
        return {}
    found = inspect.signature(kind).parameters.values()
    return {p.name: p for p in found if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def _checked(kind: type[Policy], name: str, params: Mapping[str, Value]) -> dict[str, Value]:
    known = parameters(kind)
    for key in params:
        if key not in known:
            allowed = f"It has {', '.join(known)}" if known else "It has none"
            raise UserError(
                f"policy '{name}' has no parameter '{key}'{nearest(key, known) or '.'} {allowed}"
            )
    return {key: _converted(name, known[key], value) for key, value in params.items()}


def _converted(name: str, parameter: inspect.Parameter, value: Value) -> Value:
    default = parameter.default
    wanted = type(default)
    if wanted not in (bool, int, float) or (wanted is type(value)):
        return value
    spelled = str(value).strip().lower()
    try:
        if wanted is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                spelled
            ]
        return int(spelled) if wanted is int else float(spelled)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"policy '{name}': {parameter.name} = {value!r} is not a {wanted.__name__} "
            f"(its default is {default!r})"
        ) from error
