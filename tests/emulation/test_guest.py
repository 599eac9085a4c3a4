"""A policy's process and its device's end of the pipe: what is believed, and what ends it."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulation.guest.process import Guest
from emulation.node.event_loop import Clock, Loop
from emulation.node.guest_link import GuestPolicy
from emulation.orchestrator.briefer import Briefer
from emulation.protocol import guest_codec
from emulation.protocol.briefing import Agent, Briefing
from emulation.sandbox import guest_root as room
from emulation.sandbox import guest_seccomp as guest_filter
from emulation.sandbox.policy_sources import Sources
from model.errors import UserError
from model.network import build_network
from model.observation import Decision, Observation, TaskView
from model.workload import generate_trace
from rl.policies.checking import PolicyError
from tests.emulation.scenarios import small_scenario

SCENARIO = small_scenario()
NETWORK = build_network(SCENARIO)
TASK = TaskView(2.5, 0.75)


def agent(policy: str = "tests.emulation.policies_of_tests:FixedRate", **params: Any) -> Agent:
    trace = generate_trace(SCENARIO, 5, NETWORK)
    made = Briefer(SCENARIO, NETWORK, trace, 5, 1.0).brief("c1d1", policy, params).agent
    assert made is not None
    return made


def seen(status: bool = False) -> Observation:
    size = len(agent().profile.targets)
    rows = np.arange(13.0 * size).reshape(13, size)
    rows[3, 1] = math.nan
    rows[4, 1] = math.inf
    extra = (np.ones(size), np.full(size, 7.0)) if status else (None, None)
    return Observation(1.5, 2.0, 3.0, *rows, *extra)


class Ear:
    """What a device takes that is no decision."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.lines: list[str] = []
        self.ends: list[str] = []
        self.placed: list[Decision | PolicyError] = []

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    def printed(self, text: str) -> None:
        self.lines.append(text)

    def replaced(self, why: str) -> None:
        self.ends.append(why)


class Desk:
    """A device's end, and a policy's that the test plays."""

    def __init__(self) -> None:
        self.loop, self.clock, self.ear = Loop(), Clock(1.0), Ear()
        self.device, self.policy = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.policy.settimeout(5.0)
        self.policy.send(guest_codec.READY)
        self.link = GuestPolicy(self.loop, self.clock, agent(), self.device, self.ear)
        self.link.await_ready()

    def ask(self, task: int) -> None:
        self.link.ask(task, TASK, seen, self.ear.placed.append)

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.policy.send(packet)
        for _ in range(50):
            self.loop.step(0.001)

    def close(self) -> None:
        self.policy.close()
        self.device.close()
        self.loop.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.mark.parametrize("status", [False, True])
def test_an_observation_survives_its_journey(status: bool) -> None:
    sent = seen(status)
    number, task, got = guest_codec.from_decide(
        guest_codec.to_decide(2**32 - 1, TASK, sent)[1:], len(sent.rtt_s)
    )
    assert (number, task) == (2**32 - 1, TASK)
    for here, there in zip(astuple(sent), astuple(got), strict=True):
        assert here is there is None or np.array_equal(here, there, equal_nan=True)
    got.rtt_s[:] = 0.0  # a policy's own to change


def test_what_is_sent_at_the_reset_is_profile_parameters_and_a_key() -> None:
    own = agent()
    packet = guest_codec.to_reset("x:Y", {"a": 1}, own.profile, own.policy_key)
    assert guest_codec.from_reset(packet[1:]) == ("x:Y", {"a": 1}, own.profile, own.policy_key)
    assert set(json.loads(packet[1:])) == {"policy", "params", "profile", "key"}


def test_a_decision_is_carried_out_once(desk: Desk) -> None:
    desk.ask(7)
    assert desk.policy.recv(1 << 16)[:1] == guest_codec.RESET
    assert guest_codec.from_decide(desk.policy.recv(1 << 16)[1:], 4)[0] == 7
    desk.send(guest_codec.to_decision(7, 1, 5.0))
    assert desk.ear.placed == [Decision(1, 5.0)]
    assert len(desk.link.decision_ns) == 1
    desk.send(guest_codec.to_decision(7, 1, 5.0))
    assert desk.ear.ends == ["it sent a decision that was not asked for"]


@pytest.mark.parametrize(
    ("target", "rate"), [(99, 5.0), (-1, 5.0), (0, math.nan), (0, 1e300), (1, 0.0), (2**62, 1.0)]
)
def test_an_illegal_decision_is_the_policys_fault(desk: Desk, target: int, rate: float) -> None:
    desk.ask(7)
    desk.send(guest_codec.to_decision(7, target, rate))
    (fault,) = desk.ear.placed
    assert isinstance(fault, PolicyError)
    assert not desk.ear.ends


def test_a_late_decision_is_dropped_and_the_task_stays(desk: Desk) -> None:
    desk.ask(7)
    end = time.monotonic() + 5.0
    while not desk.ear.placed:
        assert time.monotonic() < end
        desk.loop.step(0.01)
    assert desk.ear.placed == [Decision(0, agent().profile.max_rate_mbps)]
    assert desk.link.undecided == 1
    desk.send(guest_codec.to_decision(7, 1, 5.0))
    assert len(desk.ear.placed) == 1
    assert not desk.ear.ends


def test_the_scenario_says_how_long_a_decision_may_take() -> None:
    scenario = small_scenario()
    decision = scenario.decision.model_copy(update={"limit_slots": 0.02})
    scenario = scenario.model_copy(update={"decision": decision})
    trace = generate_trace(scenario, 5, NETWORK)
    briefing = Briefer(scenario, NETWORK, trace, 5, 1.0).brief("c1d1", "local", {})
    told = Briefing.from_json(json.loads(json.dumps(briefing.to_json()))).agent
    assert told is not None
    device, policy = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop, ear = Loop(), Ear()
    with device, policy:
        policy.send(guest_codec.READY)
        link = GuestPolicy(loop, Clock(1.0), told, device, ear)
        link.await_ready()
        begin = time.monotonic()
        link.ask(7, TASK, seen, ear.placed.append)
        while not ear.placed:
            loop.step(0.005)
        waited_slots = (time.monotonic() - begin) / scenario.slot_s
    loop.close()
    assert 0.02 <= waited_slots < 0.1


@pytest.mark.parametrize(
    "packet",
    [
        b"?", b"A", b"A" + b"x" * 19, b"A" + b"x" * 21, b"F", b"F" + b"x" * 3, guest_codec.READY,
        guest_codec.to_text(guest_codec.REFUSED, "no"), guest_codec.PRINTED + b"x" * 5000,
        guest_codec.to_decision(8, 0, 5.0), guest_codec.to_fault(8, "x"), b'["known",1,0.5]',
    ],
)  # fmt: skip
def test_what_is_no_answer_ends_the_policy_and_nothing_else(desk: Desk, packet: bytes) -> None:
    desk.ask(7)
    desk.send(packet)
    assert len(desk.ear.ends) == 1
    assert desk.ear.placed == [Decision(0, agent().profile.max_rate_mbps)]
    desk.ask(9)
    desk.link.begin_slot(3, seen)
    assert len(desk.ear.placed) == 2
    assert desk.link.undecided == 2


def test_a_pipe_that_is_closed_ends_the_policy(desk: Desk) -> None:
    desk.ask(7)
    desk.policy.close()
    for _ in range(20):
        desk.loop.step(0.001)
    assert desk.ear.ends == ["its process has ended"]
    assert len(desk.ear.placed) == 1


def test_a_policy_that_reads_nothing_holds_nothing_up(desk: Desk) -> None:
    for task in range(5000):
        desk.ask(task)
    assert desk.link.undecided > 0
    assert not desk.ear.ends


def test_texts_are_counted_and_cleaned(desk: Desk) -> None:
    desk.send(
        guest_codec.to_text(guest_codec.PRINTED, "\x1b[2Jup"),
        guest_codec.to_text(guest_codec.COMPLAINT, "a\nb"),
    )
    assert desk.ear.lines[0].isprintable()
    assert desk.ear.complaints[0].isprintable()
    for _ in range(250):
        desk.send(*[guest_codec.to_text(guest_codec.PRINTED, "x")] * 10)
        if desk.ear.ends:
            break
    assert desk.ear.ends == ["it sent more than 2000 lines of text"]
    assert len(desk.ear.lines) <= 200


def test_the_process_answers_with_what_its_policy_does() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        guest = Guest(theirs)
        own = agent("tests.emulation.policies_of_tests:Unruly")
        reset = guest_codec.to_reset(own.policy, {}, own.profile, own.policy_key)
        assert guest._answer(reset) == guest_codec.READY
        assert guest._answer(guest_codec.to_slot(seen()))[:1] == guest_codec.COMPLAINT
        answers = [guest._answer(guest_codec.to_decide(k, TASK, seen())) for k in range(3)]
        assert "target 99 is not one of" in guest_codec.from_fault(answers[0][1:])[1]
        assert guest_codec.from_decision(answers[1][1:]) == (1, 0, 5.0)
        assert (
            "RuntimeError: no idea (policies_of_tests.py"
            in guest_codec.from_fault(answers[2][1:])[1]
        )
        for policy, reason in (
            ("tests.emulation.policies_of_tests:Refuses", "reset: ValueError: wrong model file"),
            ("oracle", "needs the truth"),
            ("nowhere:X", "nowhere"),
        ):
            reset = guest_codec.to_reset(policy, {}, own.profile, own.policy_key)
            answer = guest._answer(reset)
            assert answer[:1] == guest_codec.REFUSED
            assert reason in guest_codec.from_text(answer[1:])


@pytest.mark.parametrize("when", ["reset", "begin_slot", "decide"])
def test_a_file_that_a_policy_does_not_see_is_named_with_what_to_do(when: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        guest = Guest(theirs)
        own = agent("tests.emulation.policies_of_tests:ReadsAFile")
        packets = (
            guest_codec.to_reset(own.policy, {"when": when}, own.profile, own.policy_key),
            guest_codec.to_slot(seen()),
            guest_codec.to_decide(1, TASK, seen()),
        )
        packet = packets[("reset", "begin_slot", "decide").index(when)]
        if when != "reset":
            assert guest._answer(packets[0]) == guest_codec.READY
        text = guest._answer(packet).decode(errors="replace")
    assert f"{when}: FileNotFoundError" in text
    assert "/nowhere/weights.pt" in text
    assert text.endswith("a policy sees only files that a parameter names: --param KEY=FILE")


def test_a_refusal_is_the_users_mistake() -> None:
    device, policy = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = Loop()
    with device, policy:
        policy.send(guest_codec.to_text(guest_codec.REFUSED, "policy: reset: no"))
        with pytest.raises(UserError, match="policy: reset: no"):
            GuestPolicy(loop, Clock(1.0), agent(), device, Ear()).await_ready()
        device_2, policy_2 = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        policy_2.close()
        with device_2, pytest.raises(UserError, match="its process ended"):
            GuestPolicy(loop, Clock(1.0), agent(), device_2, Ear()).await_ready()
    loop.close()


def test_sources_are_read_once_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    for name in ("pack/__init__", "pack/inner/__init__", "pack/inner/leaf", "deep/er/policy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    (tmp_path / "outside.py").symlink_to("/etc/passwd")
    found = Sources(tmp_path, "deep.er.policy:P")
    for name in ("pack", "pack.inner", "pack.inner.leaf", "deep", "deep.er", "deep.er.policy"):
        spec = found.find_spec(name)
        assert spec is not None, name
    assert found.find_spec("outside") is None
    assert found.find_spec("deep.other") is None
    assert found.get_source("pack.inner.leaf") == "raise RuntimeError"


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_of_the_filter_lands_in_it(machine: str, processes: bool) -> None:
    lines = guest_filter.program(machine, processes=processes)
    assert len(lines) < 4096
    for at, (code, yes, no, _) in enumerate(lines):
        if code & 7 == 5:
            assert at + 1 + max(yes, no) < len(lines)
    assert lines[-1] == (6, 0, 0, 0x00050001)


CALLS = """
import ctypes, errno, os, socket, sys, threading
from emulation.host import syscalls as kernel
from emulation.sandbox import guest_seccomp as guest_filter
kernel.prctl(38, 1)
guest_filter.install()
libc = ctypes.CDLL(None, use_errno=True)
def refused(call):
    try:
        call()
    except OSError as error:
        return error.errno in (errno.EPERM, errno.ENOSYS, errno.ENOTTY)
    return False
def sysinfo():
    if libc.sysinfo(ctypes.create_string_buffer(512)) != 0:
        raise OSError(ctypes.get_errno(), "")
for call in (lambda: socket.socket(), lambda: socket.socket(socket.AF_UNIX),
             lambda: os.memfd_create("x"), lambda: os.execv("/bin/true", ["true"]), sysinfo,
             lambda: os.setpriority(os.PRIO_PROCESS, 0, 1), lambda: kernel.prctl(1, 0),
             lambda: os.nice(1), lambda: kernel.unshare(0x10000000), lambda: os.link("/x", "/y"),
             lambda: os.symlink("/x", "/y"), lambda: os.pidfd_open(os.getpid()),
             lambda: os.mkfifo("/tmp/nowhere-at-all/x")):
    assert refused(call), call
thread = threading.Thread(target=print, args=("thread",))
thread.start(); thread.join()
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
import numpy as np
np.linalg.inv(np.random.default_rng(1).random((50, 50)))
os.urandom(8); os.listdir("/"); open("/dev/null").close()
print("done")
"""


def test_the_kernel_refuses_what_a_policy_needs_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLS], cwd=room.PROJECT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "thread\ndone\n", done.stdout + done.stderr


@pytest.mark.root
def test_a_room_has_code_and_named_files_and_no_more(tmp_path: Path) -> None:
    given = tmp_path / "weights.pt"
    given.write_bytes(b"w")
    (tmp_path / "secret").write_text("s")
    script = f"""
import os
from emulation.host import syscalls as kernel
from emulation.sandbox import guest_root as room
paths = room.visible([{str(given)!r}])
kernel.unshare(kernel.NEW_MOUNTS)
room.arrange(paths)
print(open({str(given)!r}).read(), os.listdir({str(tmp_path)!r}), sorted(os.listdir("/dev")))
print([p for p in ("/root", "/home", "/etc/passwd", "/run", "/sys", "/var") if os.path.exists(p)])
print([p for p in ("scenarios", "results", ".git", "tests", "docs")
       if os.path.exists(os.path.join({str(room.PROJECT)!r}, p))])
import email.mime.text, numpy.fft, networkx
for path in ("/x", "/tmp/x", {str(given)!r}, "/usr/x"):
    try:
        open(path, "w")
    except OSError as error:
        print(error.errno, end=" ")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=room.PROJECT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "w ['weights.pt'] ['full', 'null', 'random', 'shm', 'urandom', 'zero']"
    assert lines[1:3] == ["[]", "[]"]
    assert lines[3] == "30 30 30 30 "
