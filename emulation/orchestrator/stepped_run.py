"""A stepped run as a process of its own: ``python -m emulation.orchestrator.stepped_run FD``.

In a session of its own, so that Ctrl-C reaches the caller alone; when that has gone, however it
went, the run ends in order and takes everything with it that it has made on the machine.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from emulation.host.ledger import clean
from emulation.options import RunOptions
from emulation.orchestrator.deployment import PROJECT
from emulation.orchestrator.session import run_session
from emulation.protocol.json_channel import Channel
from model.errors import INTERRUPTED, LabError, UserError
from model.scenario import Scenario
from records.reader import open_result

_OPTIONS_TIMEOUT_S = 10.0
_BEGIN_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 30.0


class SteppedRun:
    """A run under way, as its caller sees it.

    Attributes:
        folder: the result folder; complete once the run has ended.

    Raises ``UserError`` if there cannot be such a run.
    """

    def __init__(self, options: RunOptions):
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "emulation.orchestrator.stepped_run", str(theirs.fileno())],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._channel = Channel("run", ours)
        self.folder: Path | None = None
        try:
            self.send(_to_json(options))
            self.folder = Path(self.receive(_BEGIN_TIMEOUT_S)["folder"])
        except BaseException:
            self.close()
            raise

    def send(self, value: dict[str, Any]) -> None:
        """Tell the run something."""
        self._channel.send(value)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """What the run says next. Raises ``UserError`` if it says nothing, or cannot go on."""
        try:
            value: dict[str, Any] = self._channel.receive(timeout_s)
        except TimeoutError as error:
            raise UserError(f"the run has not answered for {timeout_s:g} s") from error
        except ConnectionError as error:
            raise UserError(self._why_ended()) from error
        if "error" in value:
            raise UserError(value["error"])
        return value

    def _why_ended(self) -> str:
        self.wait()
        if self.folder is None:
            return "the run could not begin"
        why = open_result(self.folder).manifest.get("error") or "it gives no reason"
        return f"the run has ended early: {why}; see {self.folder}"

    def wait(self) -> None:
        """Wait until a run that ends by itself has taken everything down."""
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            clean()

    def close(self) -> None:
        """End the run wherever it is, and wait until nothing of it is left."""
        self._channel.close()
        self.wait()


def _to_json(options: RunOptions) -> dict[str, Any]:
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    return values | {
        "scenario": options.scenario.model_dump(mode="json"),
        "out": str(options.out.resolve()),
    }


def _from_json(value: dict[str, Any]) -> RunOptions:
    lists = {k: tuple(v) for k, v in value.items() if isinstance(v, list)}
    scenario = Scenario.model_validate(value["scenario"])
    return RunOptions(**{**value, **lists, "scenario": scenario, "out": Path(value["out"])})


def main() -> None:
    """Run, and tell the caller if that cannot be."""
    caller = Channel("caller", socket.socket(fileno=int(sys.argv[1])))
    try:
        status = run_session(_from_json(caller.receive(_OPTIONS_TIMEOUT_S)), caller)
    except LabError as error:
        caller.send({"error": str(error)})
        status = error.exit_code
    except (ConnectionError, KeyboardInterrupt):
        status = INTERRUPTED
    sys.exit(status)


if __name__ == "__main__":
    main()
