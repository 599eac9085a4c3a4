"""An emulated run as a PettingZoo environment: the contract of ``rl.environment``, over a network.

``reset`` brings a run up, ``step`` gives the decisions on the tasks that are born in the slot that
has just begun and returns when that slot has ended, with what the real devices saw by then: their
own pings, their own tasks' delays. Real time does not wait for the caller. A step is late if it is
not made within ``DUE`` of a slot after the slot's start (0.25 s at speed-up 1, policy included):
none of its decisions is carried out, the slot's tasks stay on their own devices, it is counted, and
``infos[agent]["late"]`` and a ``LateStep`` warning say so. Tasks born before a step that is in time
wait for it; the wait is part of their delay. Every slot has one step, late or not: whoever was late
for several catches up at once.

A result folder is written as by any run. The run is a process of its own
(``emulation.orchestrator.stepped_run``).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from emulation.options import RunOptions
from emulation.orchestrator.external_steps import DUE
from emulation.orchestrator.stepped_run import SteppedRun
from emulation.run import require_machine
from model.aliases import FloatArray, IntArray
from model.errors import UserError
from model.scenario import Scenario
from model.workload import TaskTrace, generate_trace
from rl.environment.base import Decided, DeviceAgents, resolved
from rl.environment.encoding import COLUMNS, unseen
from rl.environment.interface import EnvOptions, Options
from rl.environment.rewards import UNDECIDED

_BRING_UP_S = 120.0
_MARGIN_S = 30.0


class LateStep(UserWarning):
    """A step came too late for its slot, and none of its decisions was carried out."""


class EmulationEnv(DeviceAgents):
    """Real devices behind the contract; use it as a context manager, or ``close`` it.

    Args:
        scenario: what to emulate: a scenario, its name or its path.
        policy: the name under which results are filed.
        speedup: k: a slot lasts slot_s / k real seconds.
        out: folder that result folders are made in.
        without_netem: leave out delay and loss where the kernel cannot emulate them.
        options: as of ``DeviceAgents``, see ``rl.environment.interface.Options``.

    Attributes:
        folder: the result folder of the present or latest run; complete once the run has ended.
        late_steps: of this run so far.

    Raises ``ValueError`` and ``ScenarioError`` as ``DeviceAgents`` does, ``UserError`` if this
    machine cannot emulate: it needs root, for one.
    """

    def __init__(
        self,
        scenario: Scenario | str | Path,
        *,
        policy: str = "environment",
        speedup: float = 1.0,
        out: Path = Path("results"),
        without_netem: bool = False,
        **options: Unpack[EnvOptions],
    ):
        Options(**options).require_known()
        run = RunOptions(
            resolved(scenario),
            policy=policy,
            speedup=speedup,
            out=out,
            without_netem=without_netem,
            stepped=True,
            command_line=tuple(sys.argv),
        )
        self._options = require_machine(run)
        super().__init__(self._options.scenario, **options)
        self._target_index = [{name: k for k, name in enumerate(p.targets)} for p in self.profiles]
        self._run: SteppedRun | None = None
        self.folder: Path | None = None
        self.late_steps = 0
        self._late = False

    def _state_now(self) -> NDArray[np.float32]:
        # As the operator measured it at the slot's end.
        return self._state

    def close(self) -> None:
        """End the run, if there is one, and wait until nothing of it is left on the machine."""
        run, self._run, self.agents = self._run, None, []
        if run is not None:
            run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, seed: int) -> TaskTrace:
        self.close()
        trace = generate_trace(self.scenario, seed, self._layout.network)
        agents, size = len(self.possible_agents), self._layout.targets
        self._own = np.zeros((agents, 2), dtype=np.float32)
        self._shown = np.tile(unseen(size), (agents, 1, 1))
        # An agent's padding is like itself: reached in no time.
        self._shown[:, :, COLUMNS.index("idle_rtt_s")] = 0.0
        self._targets = np.full(len(trace), UNDECIDED, dtype=np.int64)
        self._known = np.full(len(trace), np.nan)
        self._device = trace.device
        self.late_steps = 0
        self._run = run = SteppedRun(replace(self._options, seed=seed))
        self.folder = run.folder
        with self._closed_on_error():
            self._take(run.receive(_BRING_UP_S))
        return trace

    def _pass(self, decided: Decided) -> None:
        """Send the decisions, and wait for the slot's end; the run does not survive an interrupt.

        Raises ``UserError`` if the run has ended before its time, or there is none.
        """
        if self._run is None:
            raise UserError("there is no run to step through; reset() begins one")
        devices: dict[str, dict[int, tuple[int, float]]] = {}
        owner = self._device[decided.tasks]
        for d, task, target, rate in zip(owner, *(a.tolist() for a in decided), strict=True):
            devices.setdefault(self.possible_agents[d], {})[task] = target, rate
        slot_real_s = self.scenario.slot_s / self._options.speedup
        with self._closed_on_error():
            self._run.send({"slot": self.slot, "devices": devices})
            self._take(self._run.receive(slot_real_s + _MARGIN_S))
            if self.slot + 1 == self.scenario.slots:
                # It has told all; once it has ended, its result folder is complete.
                self._run.wait()

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _take(self, told: dict[str, Any]) -> None:
        """Enter what the run tells of a slot boundary."""
        if told["late"]:
            self.late_steps += 1
            warnings.warn(
                f"the step of slot {told['boundary'] - 1} came more than {DUE:g} slots after the "
                "slot's start: its tasks stay where they were born",
                LateStep,
                stacklevel=4,
            )
        self._late = told["late"]
        for d, name in enumerate(self.possible_agents):
            if name in told["views"]:
                queue, ghz, rows = told["views"][name]
                self._own[d] = queue, ghz
                table = np.asarray(rows, dtype=np.float32).reshape(-1, len(COLUMNS))
                self._shown[d, : len(table)] = table
        for task, target in told["born"]:
            self._targets[task] = self._target_index[self._device[task]][target]
        for task, known_s in told["known"]:
            self._known[task] = known_s
        columns = (np.asarray(told[key], dtype=np.float32).T for key in ("links", "units"))
        self._state = np.concatenate([row for pair in columns for row in pair])

    def _views(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._own.copy(), self._shown.copy()

    def _outcomes(self, tasks: IntArray) -> tuple[IntArray, FloatArray]:
        return self._targets[tasks], self._known[tasks]

    def _infos(self) -> dict[str, dict[str, Any]]:
        return {name: {**info, "late": self._late} for name, info in super()._infos().items()}
