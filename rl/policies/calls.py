"""Calls of a policy's methods: what it raises or decides wrongly is an error of its own."""

from __future__ import annotations

from collections.abc import Mapping

from model.aliases import Value
from model.errors import UserError
from model.observation import Decision, DeviceProfile, Observation, TaskView
from model.random_streams import generator
from rl.policies import create
from rl.policies.base import Policy
from rl.policies.checking import checked, raised


def policy_of(
    name: str, params: Mapping[str, Value], profile: DeviceProfile, key: tuple[int, ...]
) -> Policy:
    """A policy, made and reset. ``key`` is of its random stream.

    Raises ``UserError`` if it cannot decide for a device.
    """
    policy = create(name, params)
    if policy.needs != "observation":
        raise UserError(
            f"policy '{name}' needs the {policy.needs} of the whole system, "
            "which no device has; it runs in the simulator only"
        )
    try:
        policy.reset(profile, generator(key))
    except Exception as error:
        raise UserError(f"policy: {raised('reset', error)}") from error
    return policy


def decision_of(
    policy: Policy, profile: DeviceProfile, seen: Observation, task: TaskView
) -> Decision:
    """A legal decision. Raises ``PolicyError`` for what a policy raises or decides otherwise."""
    try:
        found = policy.decide(seen, task)
    except Exception as error:
        raise raised("decide", error) from error
    return checked(found, profile)
