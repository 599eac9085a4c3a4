"""Hostile policies in the simulator: the attacks of real runs, and what a simulation has besides.

Each is tried behind root's walls, behind those of a user with namespaces, and of one without.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys

import pytest

from model.compute import frequency_trace
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace
from tests.emulation.attacks import files, network, objects  # noqa: F401 - they enter their attacks
from tests.emulation.attacks.base import ATTACKS, PREFIX, masked
from tests.emulation.typed import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SEED, SLOTS = 987654321, 18
SECRETS = {"network.access.rate_mbps": 19.876, "network.access.buffer_mb": 3.456789}
HOSTILE = "tests.emulation.attacks.hostile"
POLICY = f"{HOSTILE}:InSimulator"
CALLERS = ["root", "user", "plain"]
"""Root; a user whose machine has user namespaces; one whose machine has none."""
BECOME = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
caller = sys.argv.pop(1)
if caller != "root" and os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
if caller == "plain":
    from emulation.host import syscalls as kernel
    from emulation.sandbox import unprivileged
    kernel.prctl(4, 1)  # a change of uid has taken its own part of /proc away
    unprivileged.enter_user_namespace()
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    unprivileged.give_up_capabilities()
"""
RUN = """
import json
from experiments.simulated import simulated
from experiments.guest import missing_walls
from model.scenario.load import load_scenario
asked = json.loads(sys.stdin.read())
lines = []
scenario = load_scenario("mini", asked["settings"])
simulated(scenario, asked["policy"], asked["params"], asked["seed"], on_print=lines.append)
print(json.dumps([lines, missing_walls(asked["policy"])]))
"""
RUN_IN_ONE_PROCESS = """
import contextlib, io, json
from model.scenario.load import load_scenario
from rl import policies
from rl.simulator.run import simulate
asked = json.loads(sys.stdin.read())
scenario = load_scenario("mini", asked["settings"])
with contextlib.redirect_stdout(io.StringIO()) as text:
    simulate(scenario, lambda: policies.create(asked["policy"], asked["params"]), asked["seed"])
print(json.dumps([["it prints: " + line for line in text.getvalue().splitlines()], {}]))
"""


def in_simulator(
    caller: str, params: dict[str, object], policy: str = POLICY, run: str = RUN
) -> tuple[list[str], dict[str, str]]:
    """What a policy prints in a simulation, and which walls were missing."""
    if caller == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    settings = {**SECRETS, "slots": SLOTS}
    asked = {"settings": settings, "policy": policy, "params": params, "seed": SEED}
    done = subprocess.run(
        [sys.executable, "-c", BECOME + run, caller],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": str(PROJECT), "NUMBA_CACHE_DIR": f"/tmp/numba-{caller}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines, walls = json.loads(done.stdout.splitlines()[-1])
    return lines, walls


def secrets() -> dict[str, object]:
    """Births, changes of F(t), the seed and capacities, disguised so that it can look for them."""
    scenario = load_scenario("mini", {**SECRETS, "slots": SLOTS})
    graph = build_network(scenario)
    trace = generate_trace(scenario, SEED, graph)
    numbers = {"": {float(SEED), *SECRETS.values(), *(v * 1e6 for v in SECRETS.values())}}
    for k, device in enumerate(graph.devices):
        births = {float(v) for v in trace.born_s[trace.of_device(k)]}
        frequency = frequency_trace(scenario, SEED, device)
        numbers[device.name] = births | {float(v) for v in frequency.start_s[1:]}
    words = [f"{name}={','.join(str(masked(v)) for v in vs)}" for name, vs in numbers.items()]
    return {"project": str(PROJECT), "out": "/nowhere", "numbers": ";".join(words)}


@functools.cache
def outcomes(caller: str) -> dict[str, tuple[bool, str]]:
    """Attack → whether it worked, and what it says."""
    lines, _ = in_simulator(caller, secrets())
    found = {}
    for line in lines:
        prefix, name, worked, how = json.loads(line.partition(" prints: ")[2])
        assert prefix == PREFIX
        found[name] = (worked, how)
    return found


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_fails(caller: str, name: str) -> None:
    found = outcomes(caller)
    assert name in found, "the attack was not carried out"
    worked, how = found[name]
    assert not worked, how
    # A wall stopped it, not a slip of its own.
    assert not re.search(r"(Attribute|Type|Name|Key|Index)Error", how)


def test_without_walls_the_same_code_finds_the_future() -> None:
    """In the simulation's own process a policy finds births that are still to come."""
    for run, finds in ((RUN, False), (RUN_IN_ONE_PROCESS, True)):
        lines, _ = in_simulator("user", secrets(), f"{HOSTILE}:WalksInSimulator", run)
        assert lines
        for line in lines:
            prefix, name, worked, how = json.loads(line.partition(" prints: ")[2])
            assert (prefix, name, worked) == (PREFIX, "walk-all-objects", finds), how


def test_the_walls_that_a_caller_lacks_are_told() -> None:
    wanted = {
        "root": set(),
        "user": {"own uid"},
        "plain": {"own uid", "namespaces"},
    }
    for caller, names in wanted.items():
        if caller == "root" and os.geteuid() != 0:
            continue
        lines, walls = in_simulator(caller, {}, "tests.experiments.simulator_policies:Everything")
        assert set(walls) == names
        assert not lines
