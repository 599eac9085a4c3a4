"""Checkpoints of learned policies: one small ``.npz`` file each, read without torch.

It holds the actor's arrays as float32 and, as JSON under ``meta``, what must fit the scenario it is
used in and where it comes from. Nothing in it is executed or believed: see ``npz`` and ``unfit``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from model.errors import UserError
from rl.policies import checkpoint_file
from rl.policies.features import AGENT_COLUMNS, AUGMENTED, CANDIDATE_COLUMNS, GROUPS

if TYPE_CHECKING:
    from model.scenario import Scenario

FORMAT = 1
SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints"
"""``<scenario>/<algorithm>-seed<k>.npz`` of the checkpoints that come with the lab."""
_MOST_LOG = 50.0

Choice = Literal["sample", "argmax", "better", "qmin"]
"""How the actor's output becomes a decision: drawn from the policy; its likeliest; the better of
that and the closed form's by the local Q (Algorithm 1, line 5); the least local Q of all."""

Cell = Literal["gru", "lstm"]
"""The recurrent layer."""

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a checkpoint.

    Attributes:
        algorithm: ``m2ppo``, ``mappo``, …
        choice: how it decides, unless told otherwise.
        rates_mbps, slot_s: what it was trained for, which must be the scenario's.
        agent_columns, candidate_columns: the features it takes.
        cell, augmented, prior: see ``rl.learning.torch_actor.ActorShape``.
        scenario, seed, slots: what it was trained on, and for how many environment slots.
        held_out: its mean unit delay on held-out episodes, s per MB.
        notes: whatever else is worth knowing: command, date, machine.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    algorithm: str
    choice: Choice
    rates_mbps: tuple[float, ...]
    slot_s: float
    cell: Cell
    augmented: bool
    prior: bool
    scenario: str
    seed: int
    slots: int
    held_out: float
    agent_columns: tuple[str, ...] = AGENT_COLUMNS
    candidate_columns: tuple[str, ...] = CANDIDATE_COLUMNS
    notes: dict[str, Any] = field(default_factory=dict)


_META = TypeAdapter(Meta)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A policy as arrays, by the names of the actor's parameters."""

    meta: Meta
    arrays: Arrays
    path: str = ""

    def require_fit(self, rates_mbps: tuple[float, ...], slot_s: float) -> None:
        """Raise ``UserError`` where the policy was trained for other actions than there are."""
        for what, ours, theirs in (
            ("rates_mbps", self.meta.rates_mbps, rates_mbps),
            ("slot_s", self.meta.slot_s, slot_s),
        ):
            if ours != theirs:
                raise UserError(
                    f"{self.path}: trained for {what} = {ours}, but the scenario has {theirs}; "
                    "train one for it: ./lab train"
                )


def save(path: Path, meta: Meta, arrays: Arrays) -> None:
    """Write a checkpoint. Raises ``OSError``."""
    text = json.dumps({"format": FORMAT, **asdict(meta)}, ensure_ascii=False)
    stored = {name: np.asarray(a, dtype=np.float32) for name, a in arrays.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, meta=np.array(text), **stored)


@cache
def load(path: str) -> Checkpoint:
    """Read a checkpoint, once in a process: what is forked off it has it in memory already.

    Raises ``UserError`` if it cannot be read, is none, is of another version or damaged.
    """
    try:
        text, arrays = checkpoint_file.read(Path(path), "meta")
        values = json.loads(text)
    except (checkpoint_file.NotReadableError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a checkpoint: {str(error)[:200]}") from error
    meta = _meta(path, values)
    if reason := unfit(meta, arrays):
        raise UserError(f"{path}: damaged checkpoint: {reason}")
    return Checkpoint(meta, arrays, path)


def _meta(path: str, values: Any) -> Meta:
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise UserError(f"{path}: not a checkpoint of format {FORMAT}; train it again")
    try:
        meta = _META.validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise UserError(f"{path}: damaged checkpoint: {where}: {first['msg'][:200]}") from error
    columns = meta.agent_columns, meta.candidate_columns
    if columns != (AGENT_COLUMNS, CANDIDATE_COLUMNS):
        raise UserError(f"{path}: made for other features than this version has; train it again")
    return meta


def unfit(meta: Meta, arrays: Arrays) -> str:
    """Why these arrays are no actor of such a kind; '' if they are one."""
    expected = _shapes(meta, arrays)
    for name in sorted(expected.keys() ^ arrays.keys()):
        return f"array '{name[:40]}' is {'missing' if name in expected else 'not of an actor'}"
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            return f"array '{name}' has the shape {arrays[name].shape}, not {shape}"
        if not np.isfinite(arrays[name]).all():
            return f"array '{name}' has values that are no numbers"
    if any(abs(arrays[name]) > _MOST_LOG for name in ("log_temperature", "log_scale")):
        return "a temperature or scale is beyond all measure"
    if arrays["cost_scale"] <= 0 or (arrays["rates_mb_s"] <= 0).any():
        return "a scale or rate is not positive"
    return ""


def _shapes(meta: Meta, arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """Shapes of an actor's arrays, whose widths are those of its biases and hidden state."""

    def width(name: str, axis: int = 0) -> int:
        shape = arrays[name].shape if name in arrays else ()
        return shape[axis] if len(shape) > axis else 0

    one, two, head = width("trunk.first.bias"), width("trunk.second.bias"), width("from_state.bias")
    hidden, gates = width("from_state.weight", 1), 3 if meta.cell == "gru" else 4
    inputs, rates = len(AGENT_COLUMNS), len(meta.rates_mbps)
    columns = len(CANDIDATE_COLUMNS) if meta.augmented else AUGMENTED
    layers = {
        "trunk.first": (one, inputs),
        "trunk.second": (two, one),
        "from_state": (head, hidden),
        "from_candidate": (head, columns),
        "out": (2 + rates, head),
    }
    scalars = ("log_temperature", "log_scale", "price", "cost_scale")
    return {
        "trunk.norm.weight": (inputs,),
        "trunk.norm.bias": (inputs,),
        **{f"{name}.weight": shape for name, shape in layers.items()},
        **{f"{name}.bias": shape[:1] for name, shape in layers.items()},
        "trunk.memory.weight_ih_l0": (gates * hidden, two),
        "trunk.memory.weight_hh_l0": (gates * hidden, hidden),
        "trunk.memory.bias_ih_l0": (gates * hidden,),
        "trunk.memory.bias_hh_l0": (gates * hidden,),
        **dict.fromkeys(scalars, ()),
        "bias": (len(GROUPS),),
        "rates_mb_s": (rates,),
    }


def shipped(algorithm: str, scenario: Scenario) -> tuple[Path, ...]:
    """List the shipped checkpoints of an algorithm for a scenario, all training seeds in order.

    They are those of the scenario itself, or of the nearest one that its file ``extends``: a
    variant (``case3-burst``) takes what was trained on the case that it varies. The ``name`` that
    a file has plays no part.
    """
    from model.scenario.load import shipped_ancestors  # a device, which only loads, does without

    for name in shipped_ancestors(scenario):
        found = sorted((SHIPPED / name).glob(f"{algorithm}-seed*.npz"))
        if found:
            return tuple(found)
    return ()


def best_shipped(algorithm: str, scenario: Scenario) -> Path | None:
    """The shipped checkpoint that was best on held-out episodes; None if none is shipped."""
    found = shipped(algorithm, scenario)
    return min(found, key=lambda p: load(str(p)).meta.held_out, default=None)
