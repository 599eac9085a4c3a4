"""Small results for the tests of what reads them: simulated, killed, broken, of an emulation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from experiments.simulated import simulate_to_folder
from model.scenario import Scenario
from model.scenario.load import load_scenario

SLOTS = 20


def mini(**overrides: Any) -> Scenario:
    """The smallest scenario, short."""
    return load_scenario("mini", {"slots": SLOTS, **overrides})


def simulated(root: Path, policy: str, seed: int, scenario: Scenario | None = None) -> Path:
    """A run of the simulator; returns the result."""
    return simulate_to_folder(scenario or mini(), policy, {}, seed, root)


def edited(source: Path, target: Path, **entries: Any) -> Path:
    """A copy of a result with other entries in its manifest."""
    shutil.copytree(source, target)
    path = target / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return target


def emulated(source: Path, target: Path, verdict: str) -> Path:
    """A copy of a result that says it was emulated, with what its devices counted."""
    counters = {"decisions": 10, "decision_p50_s": 0.002, "decision_p99_s": 0.004}
    return edited(
        source,
        target,
        world="emulation",
        fidelity={"verdict": verdict, "valid": verdict == "valid", "checks": []},
        nodes={"c1d1": counters, "c1d2": {**counters, "decision_p99_s": 0.008}, "e1": {}},
    )


def killed(source: Path, target: Path) -> Path:
    """A copy as a run leaves it that was killed: parts of tables, no end in the manifest."""
    edited(source, target, exit_status=None, ended_utc=None, complete=None)
    for table in target.glob("*.parquet"):
        parts = target / f"{table.name}.parts"
        parts.mkdir()
        table.rename(parts / "0001.parquet")
    return target


def training(
    root: Path, case: str, algorithm: str, seed: int, delays: list[float], critics: str = "mean"
) -> Path:
    """The log of a training run, a chunk of 100 slots a delay."""
    folder = root / case / algorithm / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"algorithm: {algorithm}\ncritics: {critics}\n")
    rows: list[dict[str, float]] = [{"slots": 0, "held_out_argmax": 9.0, "held_out_sample": 8.0}]
    rows += [
        {"slots": 100 * (k + 1), "unit_delay": delay, "critic_loss": delay / 2}
        for k, delay in enumerate(delays)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
