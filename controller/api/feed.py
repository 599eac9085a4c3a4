"""The controller's side of the API: the channel's events and commands, passed on as they are.

The API runs in a process of its own, because a thread would share the interpreter's lock with the
threads that forward: whatever a client does, it can take time from the API only. Here nothing
waits for it. ``put`` drops a value into a bounded queue; a thread writes lines to the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from controller.forwarding import Flow
from controller.state import ControllerState
from model.controller_messages import ApiMessage, CablesDown, FlowsInstalled, encode

log = logging.getLogger("controller")

_QUEUE_LENGTH = 256
"""Slots, mostly: an API process that is minutes behind is of no use."""
_STOP_TIMEOUT_S = 2.0

FlowsOf = tuple[str, bool, dict[int, str], tuple[Flow, ...]]
"""A switch's name, whether it is connected, its neighbours by port, its flows."""


class ApiFeed:
    """Starts the API's process and tells it what happens.

    Nothing that goes wrong with the API is an error of the controller: it is logged, and the
    experiment goes on without.
    """

    def __init__(self, scenario: Path, directory: Path):
        """``directory``: of the run; the API makes its socket and token there."""
        self._command = [
            *(sys.executable, "-m", "controller.api.serve"),
            *("--scenario", str(scenario), "--directory", str(directory)),
        ]
        self._queue: queue.Queue[ApiMessage | FlowsOf | None] = queue.Queue(_QUEUE_LENGTH)
        self._thread = threading.Thread(target=self._run, name="api feed", daemon=True)
        self._child: subprocess.Popen[bytes] | None = None
        self._open = False

    def start(self) -> None:
        """Begin; what was put before is not told. Only the first call does anything."""
        if not self._thread.ident:
            self._open = True
            self._thread.start()

    def put(self, message: ApiMessage) -> None:
        """Tell an event or a command. Never waits."""
        self._offer(message)

    def put_state(self, state: ControllerState) -> None:
        """Tell flows and cables as they are. Never waits; the thread puts flows into words."""
        self._offer(CablesDown(sorted(state.down)))
        for switch in state.switches.values():
            flows = tuple(switch.flows.values())
            self._offer((switch.name, switch.connected, switch.neighbours, flows))

    def _offer(self, item: ApiMessage | FlowsOf) -> None:
        if not self._open:
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._open = False
            log.warning("the operator's API does not keep up: it is ended, the run goes on")
            self._kill()

    def _run(self) -> None:
        try:
            with subprocess.Popen(self._command, stdin=subprocess.PIPE) as child:
                self._child = child
                while (item := self._queue.get()) is not None:
                    self._write(child, _as_message(item))
        except OSError as error:
            if self._open:
                log.warning("the operator's API has ended (%s): the run goes on", error)
        finally:
            self._open = False

    @staticmethod
    def _write(child: subprocess.Popen[bytes], message: ApiMessage) -> None:
        line = encode(message)
        if child.stdin is None:
            raise BrokenPipeError("it has no standard input")
        # Past Python's buffer, which would try to write once more when it is closed.
        view = memoryview(line)
        while view:
            view = view[os.write(child.stdin.fileno(), view) :]

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """End the API; it has nothing to save."""
        if not self._thread.ident:
            return
        self._open = False
        self._kill()
        # Where the queue is full, the thread is writing to a process that is gone, which ends it.
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(_STOP_TIMEOUT_S)


def _as_message(item: ApiMessage | FlowsOf) -> ApiMessage:
    if not isinstance(item, tuple):
        return item
    name, connected, neighbours, flows = item
    rows = [_flow_row(flow, neighbours) for flow in flows]
    return FlowsInstalled(name, connected, rows)


def _flow_row(flow: Flow, neighbours: dict[int, str]) -> dict[str, Any]:
    return {
        "table": flow.table,
        "priority": flow.priority,
        "match": {k: "/".join(v) if isinstance(v, tuple) else v for k, v in flow.match},
        "rewrite": dict(flow.rewrite),
        "output": None if flow.output is None else neighbours[flow.output],
        "goto": flow.goto,
        "to_controller": flow.to_controller,
    }
