"""The orchestrator killed, or interrupted, in each phase of its life."""

from __future__ import annotations

import signal
import time

from emulation.orchestrator.session import DONE
from experiments.chaos.fault import KILLED, SLOTS, Scene, fault
from experiments.chaos.running import wait_until
from model.errors import INTERRUPTED

_PHASES = (
    "starting the nodes' parent",
    "building the network",
    "starting the nodes",
    "measuring idle round trips",
)
_IN_TIME = frozenset({INTERRUPTED, -signal.SIGINT})
"""Before there is anything to end in order, the process just ends."""


def _in_bring_up(scene: Scene) -> None:
    scene.running.wait_for(scene.rng.choice(_PHASES))
    time.sleep(scene.rng.uniform(0.0, 0.4))


def _in_run(scene: Scene) -> None:
    scene.running.wait_for_slots()
    time.sleep(scene.rng.uniform(0.0, 1.5))


def _in_tear_down(scene: Scene) -> None:
    scene.running.wait_for(rf"slot {SLOTS}/{SLOTS}")
    wait_until(
        "the tear-down", lambda: scene.running.ended or "controller" not in scene.running.pids()
    )
    time.sleep(scene.rng.uniform(0.0, 0.2))


@fault(statuses=frozenset({KILLED}))
def killed_in_bring_up(scene: Scene) -> None:
    """The orchestrator is killed (SIGKILL) while it builds the network or starts nodes."""
    _in_bring_up(scene)
    scene.running.signal(signal.SIGKILL)


@fault(statuses=frozenset({KILLED}))
def killed_in_run(scene: Scene) -> None:
    """The orchestrator is killed (SIGKILL) in the slots."""
    _in_run(scene)
    scene.running.signal(signal.SIGKILL)


@fault(statuses=frozenset({KILLED, DONE}))
def killed_in_tear_down(scene: Scene) -> None:
    """The orchestrator is killed (SIGKILL) while it takes the run down."""
    _in_tear_down(scene)
    scene.running.signal(signal.SIGKILL)


@fault(statuses=_IN_TIME)
def interrupted_at_once(scene: Scene) -> None:
    """Ctrl-C in the first half second, before anything is there."""
    time.sleep(scene.rng.uniform(0.0, 0.5))
    scene.running.interrupt()


@fault(statuses=_IN_TIME)
def interrupted_in_bring_up(scene: Scene) -> None:
    """Ctrl-C while the network is built and nodes are started."""
    _in_bring_up(scene)
    scene.running.interrupt()


@fault(statuses=frozenset({INTERRUPTED}), says="stopping; Ctrl-C again stops at once")
def interrupted_in_run(scene: Scene) -> None:
    """Ctrl-C in the slots."""
    _in_run(scene)
    scene.running.interrupt()


@fault(statuses=frozenset({INTERRUPTED}), says="stopping; Ctrl-C again stops at once")
def interrupted_twice(scene: Scene) -> None:
    """Ctrl-C in the slots, and again at once."""
    _in_run(scene)
    scene.running.interrupt()
    time.sleep(scene.rng.uniform(0.0, 0.1))
    scene.running.interrupt()


@fault(statuses=frozenset({INTERRUPTED, DONE}))
def interrupted_in_tear_down(scene: Scene) -> None:
    """Ctrl-C, again and again, while the run is taken down."""
    _in_tear_down(scene)
    for _ in range(5):
        if scene.running.ended:
            return
        scene.running.interrupt()
        time.sleep(0.03)
