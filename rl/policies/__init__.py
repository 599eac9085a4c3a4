"""What decides on a device: policies behind one protocol, free of torch.

``create("greedy", {"price": False})`` makes one; ``"package.module:Class"`` names one of your own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from model.aliases import Value
from model.errors import UserError, nearest
from rl.policies import checkpoint
from rl.policies.base import Policy
from rl.policies.checking import PolicyError, raised
from rl.policies.learned import LEARNERS, Learned, trained_policy
from rl.policies.parameters import checked, parameters, plain

if TYPE_CHECKING:
    from model.scenario import Scenario

_REGISTRY = {
    "ago": "rl.policies.ago:Ago",
    "ago-random": "rl.policies.ago_random:AgoRandom",
    "centralised": "rl.policies.centralised:Centralised",
    "greedy": "rl.policies.greedy:Greedy",
    "local": "rl.policies.local:Local",
    "learned": "rl.policies.learned:Learned",
    "oracle": "rl.policies.oracle:Oracle",
    "own-edge": "rl.policies.own_edge:OwnEdge",
    "power-of-two": "rl.policies.power_of_two:PowerOfTwo",
    "random": "rl.policies.random:Random",
    "self-biased": "rl.policies.self_biased:SelfBiased",
    "static-split": "rl.policies.static_split:StaticSplit",
    "threshold": "rl.policies.threshold:Threshold",
}

__all__ = [
    "Value", "canonical", "checkpoint_entry", "checkpoint_home", "checkpoint_note", "completed",
    "create", "default_policy", "names", "own_name", "parameters", "policy_class",
    "with_checkpoint",
]  # fmt: skip


def names() -> tuple[str, ...]:
    """Names of the policies that come with the lab."""
    return tuple(sorted({*_REGISTRY, *LEARNERS}))


def create(name_or_path: str, params: Mapping[str, Value] | None = None) -> Policy:
    """A new policy, one per device.

    Args:
        name_or_path: one of ``names()``, or ``"package.module:Class"``.
        params: keyword arguments of its constructor; text is converted to the default's type.

    Raises:
        UserError: the policy or a parameter does not exist, or a value does not fit.
        PolicyError: its constructor raises.
    """
    kind = policy_class(name_or_path)
    given = checked(kind, name_or_path, params or {})
    try:
        return kind(**given)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(name_or_path, "__init__", error) from error


def _failed(policy: str, what: str, error: BaseException) -> PolicyError:
    fault = raised(what, error)
    found = PolicyError(f"policy '{policy}': {fault}")
    found.trace = fault.trace
    return found


def canonical(name_or_path: str, params: Mapping[str, Value]) -> dict[str, Value]:
    """The parameters as records have them, with one spelling of each number.

    A policy of the lab has numbers of its defaults' types. A policy of one's own is not imported
    here; its whole numbers are ``int``, and ``create`` converts them.

    Raises ``UserError`` for a parameter that does not exist or a value that does not fit.
    """
    if name_or_path in names():
        return checked(policy_class(name_or_path), name_or_path, params)
    return plain(name_or_path, params)


def completed(name: str, params: Mapping[str, Value], scenario: Scenario) -> dict[str, Value]:
    """The parameters as ``canonical`` has them; a learner's with a checkpoint.

    That is the one named, or the best that is shipped for the scenario (``checkpoint.shipped``).

    Raises ``UserError`` if the policy does not exist, a parameter does not fit, or its checkpoint
    is missing, damaged, or was trained for other actions than the scenario has.
    """
    kind = policy_class(name)
    given = canonical(name, params)
    if not issubclass(kind, Learned):
        return given
    return with_checkpoint(name, kind.algorithm, given, scenario)


def with_checkpoint(
    name: str, algorithm: str, given: Mapping[str, Value], scenario: Scenario
) -> dict[str, Value]:
    """A learner's parameters with a checkpoint: see ``completed``."""
    named = given.get("checkpoint")
    path = Path(str(named)) if named else checkpoint.best_shipped(algorithm, scenario)
    if path is None and not algorithm:
        raise UserError(f"policy '{name}' needs a checkpoint: --param checkpoint=FILE")
    if path is None:
        raise UserError(
            f"no checkpoint of {name} is shipped for {scenario.name} or a scenario that its file "
            f"extends; train one: ./lab train {_as_typed(scenario)} --algo {name}, then "
            "--param checkpoint=FILE"
        )
    found = checkpoint.load(str(path.resolve()))
    found.require_fit(scenario.decision.rates_mbps, scenario.slot_s)
    return {**given, "checkpoint": found.path}


def _as_typed(scenario: Scenario) -> str:
    """The scenario as a command takes it: a shipped one's name, else its file."""
    folder = checkpoint.SHIPPED.parent.parent / "scenarios"
    own = Path(scenario.files[0]) if scenario.files else None
    return scenario.name if own is None or own.parent == folder else str(own)


def default_policy(scenario: Scenario) -> str:
    """``m2ppo`` where a checkpoint of it is shipped for the scenario, else the best rule."""
    return "m2ppo" if checkpoint.shipped("m2ppo", scenario) else "self-biased"


def checkpoint_home(policy: str, params: Mapping[str, Value]) -> str:
    """The shipped scenario whose checkpoint a learner of the lab decides with; "" for any other."""
    path = params.get("checkpoint")
    folder = Path(str(path)).resolve().parent if path and policy in names() else Path()
    return folder.name if folder.parent == checkpoint.SHIPPED else ""


def own_name(scenario: Scenario) -> str:
    """The stem of the scenario's own file, whatever ``name`` is; "" where it comes from none."""
    return Path(scenario.files[0]).stem if scenario.files else ""


def checkpoint_entry(
    policy: str, params: Mapping[str, Value], scenario: Scenario
) -> dict[str, object]:
    """What a manifest says of the checkpoint that a learner of the lab decides with; else {}.

    ``trained_for`` is the scenario of its training, ``shipped_for`` the shipped scenario that it
    was found by: the run's own, or one that the run's file extends. None where a file was named.
    """
    path = params.get("checkpoint")
    if not path or policy not in names():
        return {}
    found = checkpoint.load(str(Path(str(path)).resolve()))
    return {
        "checkpoint": {
            "file": found.path,
            "algorithm": found.meta.algorithm,
            "trained_for": found.meta.scenario,
            "training_seed": found.meta.seed,
            "shipped_for": checkpoint_home(policy, params) or None,
            "scenario_files": list(scenario.files),
        }
    }


def checkpoint_note(policy: str, params: Mapping[str, Value], scenario: Scenario) -> str:
    """A line on which checkpoint a policy decides with, and why it is that one; "" without one."""
    home = checkpoint_home(policy, params)
    if not home:
        return ""
    why = "" if home == own_name(scenario) else f", which {scenario.name} extends"
    return f"{policy} decides with {params['checkpoint']}, trained for {home}{why}"


def policy_class(name_or_path: str) -> type[Policy]:
    """The class behind a name or a path.

    Raises ``UserError`` if there is none, ``PolicyError`` if its module raises.
    """
    if name_or_path in LEARNERS:
        return trained_policy(name_or_path)
    path = _REGISTRY.get(name_or_path, name_or_path)
    module_name, colon, class_name = path.partition(":")
    if not colon:
        raise UserError(
            f"there is no policy '{name_or_path}'{nearest(name_or_path, names()) or '.'} "
            f"There are: {', '.join(names())}, or name your own as package.module:Class"
        )
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise UserError(f"policy '{name_or_path}': cannot import {module_name}: {error}") from error
    except (Exception, SystemExit) as error:
        raise _failed(name_or_path, f"cannot import {module_name}", error) from error
    try:
        found = getattr(module, class_name)
    except AttributeError as error:
        hint = nearest(class_name, _policies_in(module))
        raise UserError(
            f"policy '{name_or_path}': {module_name} has no {class_name}{hint}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise UserError(f"policy '{name_or_path}': {class_name} is not a rl.policies.base.Policy")
    return found


def _policies_in(module: ModuleType) -> list[str]:
    """Names of the policies that a module has."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Policy) and value is not Policy
    ]
