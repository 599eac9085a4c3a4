"""Faults of the processes behind a run: controller, switches, the nodes' parent."""

from __future__ import annotations

import signal
import time
from itertools import pairwise

import pyarrow.compute as pc

from emulation.host.commands import run
from emulation.network.fabric import set_cable
from emulation.orchestrator.session import BROKEN, DONE
from experiments.chaos.fault import SLOTS, Scene, fault
from model.network import Link, build_network
from records.reader import Result

_TASKS_SERVED_AFTER = 3


def a_moment(scene: Scene, most_s: float = 1.0, least_s: float = 0.0) -> None:
    """Wait for the first slot and some real time; what follows happens now."""
    scene.running.wait_for_slots()
    time.sleep(scene.rng.uniform(least_s, most_s))
    scene.at_unix_s = time.time()


def goes_on(scene: Scene, result: Result) -> list[str]:
    """Tasks that were sent over the network after the fault have come to their end."""
    tasks = result.table("tasks", ["target_kind", "dispatched_s", "outcome"])
    after = pc.greater(tasks["dispatched_s"], scene.at_s(result))
    served = pc.and_(after, pc.equal(tasks["outcome"], "done"))
    remote = pc.and_(served, pc.equal(tasks["target_kind"], "edge"))
    count = pc.sum(remote).as_py() or 0
    return [] if count >= _TASKS_SERVED_AFTER else [f"only {count} tasks were served afterwards"]


def _gap_is_marked(scene: Scene, result: Result) -> list[str]:
    links = result.table("links", ["slot", "link", "backlog_bytes"])
    blind = result.manifest["unmeasured_slots"]
    wrong = goes_on(scene, result)
    expected = SLOTS * len(build_network(result.scenario).shaped_links)
    if links.num_rows != expected:
        wrong.append(f"{links.num_rows} rows of links instead of {expected}")
    unknown = links.filter(pc.is_null(links["backlog_bytes"]))["slot"].unique().to_pylist()
    if not blind or sorted(unknown) != sorted(blind):
        wrong.append(f"unmeasured slots {blind}, rows without measurement in slots {unknown}")
    return wrong


@fault(says="controller (was killed by SIG|ended by itself)", check=_gap_is_marked)
def controller_killed(scene: Scene) -> None:
    """The controller is killed, or asked to end, and comes back by itself."""
    a_moment(scene, 0.3)
    scene.running.send(
        "controller", scene.rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
    )


@fault(check=goes_on)
def controller_stopped(scene: Scene) -> None:
    """The controller is stopped for up to half a second (SIGSTOP, SIGCONT)."""
    a_moment(scene, 0.3)
    scene.running.send("controller", signal.SIGSTOP)
    time.sleep(scene.rng.uniform(0.1, 0.5))
    scene.running.send("controller", signal.SIGCONT)


@fault(says="ovs-vswitchd was killed by SIGKILL", check=goes_on)
def switches_killed(scene: Scene) -> None:
    """The run's own ovs-vswitchd is killed, and comes back with its flows by itself."""
    a_moment(scene, 0.2)
    scene.running.send("ovs-vswitchd", signal.SIGKILL)
    scene.running.wait_for(r"ovs-vswitchd was killed")
    time.sleep(0.6)
    scene.at_unix_s = time.time()


@fault(says="ovsdb-server was killed by SIGKILL", check=goes_on)
def database_killed(scene: Scene) -> None:
    """The database of the run's own Open vSwitch is killed, and comes back.

    Without the kernel's datapath nothing is forwarded until then, a second or so.
    """
    a_moment(scene, 0.3)
    scene.running.send("ovsdb-server", signal.SIGKILL)


@fault(says="(?m)^lab: the run broke: .*spawner.*", statuses=frozenset({BROKEN}))
def parent_killed(scene: Scene) -> None:
    """The nodes' parent is killed, and all nodes die with it."""
    a_moment(scene)
    scene.running.send("spawner", signal.SIGKILL)


@fault(says="(?m)^lab: the run broke: .*controller.*", statuses=frozenset({BROKEN}))
def fabric_lost(scene: Scene) -> None:
    """The fabric's namespace loses its name, so that a killed controller cannot come back."""
    a_moment(scene, 0.2)
    run(["ip", "netns", "del", scene.running.namespace()])
    scene.running.send("controller", signal.SIGKILL)


@fault(check=goes_on)
def namespace_lost(scene: Scene) -> None:
    """A host's namespace loses its name; who lives in it goes on, and clean does without."""
    a_moment(scene)
    run(["ip", "netns", "del", scene.running.namespace(_device(scene))])


@fault(says="controller ended by itself", statuses=frozenset({DONE, BROKEN}))
def interface_lost(scene: Scene) -> None:
    """A device's interface is deleted, and its queue with it; nothing can mend that."""
    a_moment(scene, 0.2)
    run(["ip", "-n", scene.running.namespace(_device(scene)), "link", "del", "eth0"])


def _device(scene: Scene) -> str:
    return scene.rng.choice([d.name for d in build_network(scene.scenario).devices])


def _access(scene: Scene) -> Link:
    """The link from an edge server to its base station."""
    network = build_network(scene.scenario)
    return scene.rng.choice([k for k in network.shaped_links if k.link_class == "access"])


def _outage_is_recorded(scene: Scene, result: Result) -> list[str]:
    """As events, and by the slots' own looks where it lasted."""
    events = result.table("events").to_pylist()
    ups = [e["up"] for e in events if e["link"] == scene.notes["link"]]
    right = ups[:1] == [False] and all(a != b for a, b in pairwise(ups))
    wrong = [] if right else [f"events of the cable: {ups}"]
    if not scene.notes["back"]:
        links = result.table("links", ["link", "up"]).to_pylist()
        if all(row["up"] for row in links if row["link"] == scene.notes["link"]):
            wrong.append("no slot's look saw the cable down")
    elif ups[-1:] != [True]:
        wrong.append(f"events of the cable: {ups}")
    return wrong


def _cut(scene: Scene, *, back: bool, times: int = 1) -> None:
    a_moment(scene, 0.5)
    link = _access(scene)
    scene.notes |= {"link": link.name, "back": back}
    for _ in range(times):
        set_cable(scene.running.namespace(), link, up=False)
        time.sleep(scene.rng.uniform(0.05, 0.3) if back else 0.0)
        if back:
            set_cable(scene.running.namespace(), link, up=True)
            time.sleep(scene.rng.uniform(0.02, 0.1))


@fault(says="cable .* has failed, which the scenario does not say", check=_outage_is_recorded)
def link_down(scene: Scene) -> None:
    """The cable between base station and edge server fails and stays so."""
    _cut(scene, back=False)


@fault(says="cable .* is up again", check=_outage_is_recorded)
def link_down_and_up(scene: Scene) -> None:
    """The same cable fails and comes back."""
    _cut(scene, back=True)


@fault(says="cable .* has failed", check=_outage_is_recorded)
def link_flapping(scene: Scene) -> None:
    """The same cable fails and comes back several times within a second."""
    _cut(scene, back=True, times=scene.rng.randint(3, 5))
