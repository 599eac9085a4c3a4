"""What breaks is called what it is: a command, a process, an agent."""

from __future__ import annotations

import ast
import errno
import fcntl
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulation.calibration.rig import Rig
from emulation.host import netlink, processes
from emulation.host.commands import CommandError, ProcessError
from emulation.protocol.json_channel import Channel
from model.errors import RunError

ROOT = Path(__file__).parents[2]


def test_only_commands_are_command_errors() -> None:
    """``CommandError`` prints a shell command, which may be typed to see what is wrong."""
    allowed = {ROOT / "emulation/host/commands.py", ROOT / "emulation/host/iproute.py"}
    for path in [*ROOT.glob("*/*.py"), *ROOT.glob("emulation/*/*.py"), *ROOT.glob("*/chaos/*.py")]:
        if path in allowed or "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "CommandError", f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("print('port 6653 is taken'); raise SystemExit(3)", "ended by itself with status 3"),
        (f"print('port 6653 is taken', flush=True); import os; os.kill(os.getpid(), "
         f"{int(signal.SIGTERM)})", "was killed by SIGTERM"),
    ],
)  # fmt: skip
def test_a_process_that_ended_is_named_with_its_last_word(
    tmp_path: Path, script: str, how: str
) -> None:
    log = tmp_path / "controller.log"
    with log.open("wb") as output:
        child = subprocess.Popen([sys.executable, "-c", script], stdout=output)
        child.wait()
    with pytest.raises(ProcessError) as caught:
        processes.check_alive(child, "controller", log)
    assert str(caught.value) == f"controller {how}: port 6653 is taken"
    log.unlink()
    with pytest.raises(ProcessError) as caught:
        processes.check_alive(child, "controller", log)
    assert str(caught.value) == f"controller {how}"


@pytest.fixture
def rig(tmp_path: Path) -> tuple[Rig, socket.socket]:
    """Give a calibration's rig whose agent of e1 is the other end of a socket."""
    ours, theirs = socket.socketpair()
    made = Rig.__new__(Rig)
    made._agents, made._answers = {"e1": Channel("e1", ours)}, {}
    made._log_path = lambda host: tmp_path / f"{host}.log"  # type: ignore[method-assign]
    (tmp_path / "e1.log").write_text("Traceback\nOSError: no route\n", encoding="utf-8")
    return made, theirs


def test_an_agent_that_fails_is_late_or_gone_is_no_command(
    rig: tuple[Rig, socket.socket],
) -> None:
    made, theirs = rig
    agent = "the calibration's agent of e1"
    for line, how in (
        (b'{"id": 1, "error": "no such target"}\n', "failed: no such target"),
        (b"", "did not answer within 0.05 s: OSError: no route"),
    ):
        theirs.sendall(line)
        with pytest.raises(ProcessError) as caught:
            made.answer(("e1", 1), timeout_s=0.05)
        assert str(caught.value) == f"{agent} {how}"
    theirs.close()
    with pytest.raises(ProcessError) as caught:
        made.answer(("e1", 1))
    assert str(caught.value) == f"{agent} ended before it answered: OSError: no route"


def test_a_command_is_quoted_as_it_is_typed() -> None:
    error = CommandError(["ip", "link", "show", "no such"], 1, "", "it does not exist")
    assert str(error) == "`ip link show 'no such'` ended with status 1: it does not exist"


def test_an_offload_that_an_interface_lacks_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: object, number: int, request: bytes) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def lacks(handle: object, interface: str, command: int) -> int:
        if command in netlink._ETHTOOL_SWITCHES.values():
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return 0

    with socket.socket() as handle:
        monkeypatch.setattr(netlink, "_ask_ethtool", lacks)
        netlink._ethtool(handle, "eth0", 0x17, "tx checksum")
        monkeypatch.undo()
        monkeypatch.setattr(fcntl, "ioctl", refuse)
        with pytest.raises(RunError, match="eth0: the kernel does not switch off tx"):
            netlink._ethtool(handle, "eth0", 0x17, "tx checksum")
