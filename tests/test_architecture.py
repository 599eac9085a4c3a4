"""The rooms of the project and the doors between them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp
import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "model",
    "topologies",
    "controller",
    "emulation",
    "rl",
    "experiments",
    "analysis",
    "records",
    "benchmarks",
    "metrics",
    "cli",
)
MAX_LINES = 450

DEVICE_ENTRIES = [
    "emulation.calibration.agent",
    "emulation.host.capabilities",
    "emulation.node.device",
    "emulation.node.main",
    "emulation.node.task_server",
]
"""What runs once for every device, dozens of times on one machine."""


def test_imports_keep_to_the_contracts() -> None:
    # In a process of its own: import-linter configures logging and prints for itself.
    script = (
        "import sys; from importlinter.cli import lint_imports;"
        "sys.exit(lint_imports(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_policies_do_not_reach_into_training() -> None:
    graph = grimp.build_graph("rl", cache_dir=None)
    inside = {"rl.policies"} | graph.find_descendants("rl.policies")
    reached = {
        (module, imported)
        for module in inside
        for imported in graph.find_modules_directly_imported_by(module)
        if imported not in inside
    }
    assert not reached


@pytest.mark.parametrize("room", [*ROOMS, "tests"])
def test_modules_stay_short(room: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / room).rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n >= MAX_LINES} == {}


@pytest.mark.parametrize("module", ["rl.policies", *DEVICE_ENTRIES])
def test_devices_do_not_load_torch(module: str) -> None:
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{module} loads torch, or cannot be imported: {done.stderr}"


def test_no_imports_go_round_in_a_circle() -> None:
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    arrows = [
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    ]
    circles = [c for c in nx.strongly_connected_components(nx.DiGraph(arrows)) if len(c) > 1]
    assert not circles


def test_every_room_is_in_the_contracts() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == set(ROOMS)
