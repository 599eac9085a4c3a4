"""Checkpoints of learned policies: one small ``.npz`` file each, read without torch.

It holds the actor's arrays as float32 and, as JSON under ``meta``, what must fit the scenario it is
used in and where it comes from. Nothing in it is executed: ``numpy.load`` runs without pickles.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from model.errors import UserError
from rl.policies.features import AGENT_COLUMNS, CANDIDATE_COLUMNS

FORMAT = 1
SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints"
"""``<scenario>/<algorithm>-seed<k>.npz`` of the checkpoints that come with the lab."""
_MOST_BYTES = 64 * 1024 * 1024

Choice = Literal["sample", "argmax", "better", "qmin"]
"""How the actor's output becomes a decision: drawn from the policy; its likeliest; the better of
that and the closed form's by the local Q (Algorithm 1, line 5); the least local Q of all."""

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a checkpoint.

    Attributes:
        algorithm: ``m2ppo``, ``mappo``, …
        choice: how it decides, unless told otherwise.
        rates_mbps, slot_s: what it was trained for, which must be the scenario's.
        agent_columns, candidate_columns: the features it takes.
        cell, augmented, prior: see ``rl.learning.networks.ActorShape``.
        scenario, seed, slots: what it was trained on, and for how many environment slots.
        held_out: its mean unit delay on held-out episodes, s per MB.
        notes: whatever else is worth knowing: command, date, machine.
    """

    algorithm: str
    choice: Choice
    rates_mbps: tuple[float, ...]
    slot_s: float
    cell: Literal["gru", "lstm"]
    augmented: bool
    prior: bool
    scenario: str
    seed: int
    slots: int
    held_out: float
    agent_columns: tuple[str, ...] = AGENT_COLUMNS
    candidate_columns: tuple[str, ...] = CANDIDATE_COLUMNS
    notes: dict[str, Any] = field(default_factory=dict)


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

    Raises ``UserError`` if it cannot be read, is none, or is of another version.
    """
    try:
        if Path(path).stat().st_size > _MOST_BYTES:
            raise UserError(f"{path}: too large for a checkpoint")
        with np.load(path, allow_pickle=False) as file:
            values = json.loads(str(file["meta"]))
            arrays = {name: file[name] for name in file.files if name != "meta"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as a checkpoint: {error}") from error
    return Checkpoint(_meta(path, values), arrays, path)


def _meta(path: str, values: Any) -> Meta:
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise UserError(f"{path}: not a checkpoint of format {FORMAT}; train it again")
    try:
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        meta = Meta(**given)
    except TypeError as error:
        raise UserError(f"{path}: damaged checkpoint: {error}") from error
    if meta.choice not in get_args(Choice):
        raise UserError(f"{path}: damaged checkpoint: choice {meta.choice!r}")
    columns = meta.agent_columns, meta.candidate_columns
    if columns != (AGENT_COLUMNS, CANDIDATE_COLUMNS):
        raise UserError(f"{path}: made for other features than this version has; train it again")
    return meta


def case_of(name: str) -> str:
    """The case that a scenario varies, by its name: ``case3-burst`` → ``case3``; else itself."""
    return name.partition("-")[0]


def shipped(algorithm: str, scenario: str) -> tuple[Path, ...]:
    """Shipped checkpoints of an algorithm for a scenario, all training seeds in order.

    A variant (``case3-burst``) is served by what was trained on the case that it varies.
    """
    for name in (scenario, case_of(scenario)):
        found = sorted((SHIPPED / name).glob(f"{algorithm}-seed*.npz"))
        if found:
            return tuple(found)
    return ()


def best_shipped(algorithm: str, scenario: str) -> Path | None:
    """The shipped checkpoint that was best on held-out episodes; None if none is shipped."""
    found = shipped(algorithm, scenario)
    return min(found, key=lambda p: load(str(p)).meta.held_out, default=None)
