"""Faults of devices, edge servers and policies, and of what they say to each other."""

from __future__ import annotations

import signal
import socket
import time

import pyarrow.compute as pc

from emulation.host import netlink
from emulation.protocol.frames import Frame, Kind, encode
from experiments.chaos.fault import Scene, fault
from experiments.chaos.processes import a_moment, goes_on
from model.addressing import TASK_PORT, host_ip
from model.network import Node, build_network
from model.workload import generate_trace
from records.reader import Result

_POLICIES = "experiments.chaos.policies"
_WAIT_S = 5.0
_BUSY_S = 0.8
"""Real time after the first slot by which tasks are under way, and queued at the edge."""


def _device(scene: Scene) -> Node:
    return scene.rng.choice(build_network(scene.scenario).devices)


def _only_its_own_tasks(scene: Scene, result: Result) -> list[str]:
    """All others' tasks went on, if there are others; the dead's later ones are unfinished."""
    tasks = result.table("tasks", ["device", "born_s", "outcome"]).to_pylist()
    late = [t for t in tasks if t["born_s"] > scene.at_s(result) + 1.0]
    dead = {t["outcome"] for t in late if t["device"] in scene.notes["devices"]}
    others = {t["device"] for t in tasks} - set(scene.notes["devices"])
    wrong = goes_on(scene, result) if others else []
    return wrong + ([f"tasks of a dead device are {dead}"] if dead - {"unfinished"} else [])


@fault(says=r"c\d+d\d+ was killed by SIGKILL", check=_only_its_own_tasks)
def device_killed(scene: Scene) -> None:
    """The process of a device, and of those that share it, is killed."""
    name = _device(scene).name
    a_moment(scene)
    scene.notes["devices"] = scene.running.carried_with(name)
    scene.running.send(name, signal.SIGKILL)


@fault(says="latest slot: ", check=goes_on)
def device_stopped(scene: Scene) -> None:
    """A device's process is stopped for a second and goes on (SIGSTOP, SIGCONT)."""
    name = _device(scene).name
    a_moment(scene, 0.3)
    scene.running.send(name, signal.SIGSTOP)
    time.sleep(scene.rng.uniform(0.6, 1.0))
    scene.running.send(name, signal.SIGCONT)


@fault(says=r"c\d+d\d+ does not answer at the end", check=goes_on)
def device_stopped_for_good(scene: Scene) -> None:
    """A device's process is stopped and never goes on."""
    name = _device(scene).name
    a_moment(scene)
    scene.running.send(name, signal.SIGSTOP)


def _nothing_from_the_dead(scene: Scene, result: Result) -> list[str]:
    """Nothing is done that the stopped edge would have had to do."""
    tasks = result.table("tasks", ["target", "known_s", "outcome"])
    done = tasks.filter(pc.equal(tasks["outcome"], "done"))
    last = pc.max(done.filter(pc.equal(done["target"], "e1"))["known_s"]).as_py() or 0.0
    if last > scene.at_s(result) + 1.0:
        return [f"a stopped edge's result came at {last:.1f} s"]
    return []


def _queue_is_served_again(scene: Scene, result: Result) -> list[str]:
    """What had arrived before the edge died is sent again, and some of it is done."""
    tasks = result.table("tasks", ["target", "dispatched_s", "known_s", "attempts", "outcome"])
    again = [
        t for t in tasks.to_pylist()
        if t["attempts"] > 1 and t["outcome"] == "done" and t["known_s"] > scene.at_s(result)
    ]  # fmt: skip
    return goes_on(scene, result) + ([] if again else ["no task was sent again and done"])


@fault(says="e1 was killed by SIGKILL and is started again", check=_queue_is_served_again)
def edge_killed(scene: Scene) -> None:
    """The edge server is killed with tasks queued and under way, and comes back empty."""
    a_moment(scene, 1.1, _BUSY_S)
    scene.running.send("e1", signal.SIGKILL)


@fault(says="e1 does not answer at the end", check=_nothing_from_the_dead)
def edge_never_reads(scene: Scene) -> None:
    """The edge server is stopped: its kernel accepts connections and bytes, and nobody reads."""
    a_moment(scene, 1.3, _BUSY_S)
    scene.running.send("e1", signal.SIGSTOP)
    scene.at_unix_s = time.time()


@fault(check=goes_on)
def truncated_task(scene: Scene) -> None:
    """Somebody at a device's address sends half a task, half a header, and nothing at all."""
    a_moment(scene)
    network, device = build_network(scene.scenario), _device(scene)
    trace = generate_trace(scene.scenario, 1, network)
    index = network.devices.index(device)
    task = int((trace.device == index).nonzero()[0][-1])
    whole = encode(Frame(Kind.TASK, index, task, 1, 100_000, 1.0)) + bytes(50_000)
    edge = (host_ip(network, network.nodes["e1"]), TASK_PORT)

    def speak() -> None:
        for length in (len(whole), 10, 0):
            with socket.create_connection(edge, _WAIT_S) as handle:
                handle.sendall(whole[:length])

    netlink.inside(scene.running.namespace(device.name), speak)


def _reasons(scene: Scene, result: Result) -> list[str]:
    tasks = result.table("tasks", ["outcome", "reason"])
    failed = tasks.filter(pc.equal(tasks["outcome"], "failed"))["reason"].to_pylist()
    return [] if any(str(r).startswith("policy: ") for r in failed) else [f"failed: {failed}"]


@fault(policy=f"{_POLICIES}:Raises", check=_reasons)
def policy_raises(scene: Scene) -> None:
    """Every device's policy raises at its third task."""


@fault(policy=f"{_POLICIES}:Garbage", check=_reasons)
def policy_garbage(scene: Scene) -> None:
    """Every device's policy decides on nonsense at its third task."""


def _decisions_are_missed(scene: Scene, result: Result) -> list[str]:
    """Tasks stay on their devices, and the verdict counts them."""
    checks = {c["name"]: c for c in result.manifest["fidelity"]["checks"]}
    missed = "decisions" in checks and checks["decisions"]["ok"] is False
    return [] if missed else ["the verdict does not count missed decisions"]


@fault(policy=f"{_POLICIES}:Hangs", says=None, check=_decisions_are_missed)
def policy_hangs(scene: Scene) -> None:
    """Every device's policy never returns from its third decision."""


def _memory_is_bounded(scene: Scene, result: Result) -> list[str]:
    """The policy is refused more, and either goes on without or costs its device its life."""
    return [] if result.manifest["lost_processes"] else _reasons(scene, result)


@fault(policy=f"{_POLICIES}:Leaks", says=None, check=_memory_is_bounded)
def policy_leaks(scene: Scene) -> None:
    """Every device's policy takes memory without end."""
