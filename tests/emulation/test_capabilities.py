"""The probe of the machine: its parsers on recorded outputs, and the probe itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulation.host import capabilities
from emulation.host.capabilities import (
    CONSEQUENCES,
    REQUIRED_TO_RUN,
    TRIALS,
    Capabilities,
    Finding,
    _free_port,
    lacking_capabilities,
    parse_cgroup_mounts,
    parse_ffmpeg_version,
    parse_trials,
    probe,
)
from emulation.options import RunOptions
from emulation.run import _require_real_work, require_machine
from model.errors import UserError
from model.scenario.load import load_scenario

# Linux 6.18 without netem and fq, iproute2 6.1.
TRIAL_OUTPUT = """\
namespaces:
veth:
htb:
netem: Error: Specified qdisc kind is unknown.
fq: Error: Specified qdisc kind is unknown.
mirred: RTNETLINK answers: No such file or directory
stray line: of a login script
"""

V1_MOUNTS = """\
proc /proc proc rw,relatime 0 0
cgroup on /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
""".replace(" on ", " ")

V2_MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n"


def test_trials_are_read_from_the_script() -> None:
    trials = parse_trials(TRIAL_OUTPUT)
    assert trials["htb"] == ""
    assert trials["netem"] == "Error: Specified qdisc kind is unknown."
    assert trials["mirred"].startswith("RTNETLINK answers")
    assert "stray line" not in trials


@pytest.mark.parametrize(
    ("mounts", "listed", "expected"),
    [
        (V1_MOUNTS, [], (1, ["cpu", "memory"])),
        (V2_MOUNTS, ["memory", "cpu"], (2, ["cpu", "memory"])),
        ("proc /proc proc rw 0 0\n", [], (0, [])),
    ],
)
def test_cgroups_of_both_versions(
    mounts: str, listed: list[str], expected: tuple[int, list[str]]
) -> None:
    assert parse_cgroup_mounts(mounts, listed) == expected


def test_linux_capabilities_are_judged_and_not_the_user() -> None:
    assert lacking_capabilities("CapEff:\t000001fffeffffff\n") == []
    # Root of a container with Docker's default capabilities.
    assert lacking_capabilities("CapEff:\t00000000a80425fb\n") == ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]


def test_absent_program_is_missing_and_not_an_error() -> None:
    found = capabilities._program("tcpdump", "no-such-program", ["no-such-program"])
    assert not found.ok
    assert found.follows == CONSEQUENCES["tcpdump"]


def test_ping_group_range(tmp_path: Path) -> None:
    setting = tmp_path / "ping_group_range"
    setting.write_text("0\t2147483647\n")
    assert capabilities._ping(setting, 1000).ok
    assert not capabilities._ping(tmp_path / "absent", 1000).ok


def test_whatever_is_required_must_be_there_to_run() -> None:
    good = [Finding(name, True, "") for name in (*REQUIRED_TO_RUN, "netem", "kernel datapath")]
    assert Capabilities(tuple(good)).can_run
    for name in REQUIRED_TO_RUN:
        less = [Finding(one.name, one.name != name, "") for one in good]
        assert not Capabilities(tuple(less)).can_run


def test_probe_knows_what_follows_from_each_finding() -> None:
    found = probe()
    assert {one.name for one in found.findings} == set(CONSEQUENCES)
    assert set(TRIALS) < set(CONSEQUENCES)
    assert all(bool(one.follows) != one.ok for one in found.findings)
    assert found.as_dict()["can_run"] == found.can_run


@pytest.mark.root
def test_probe_leaves_nothing_behind() -> None:
    def machine_state() -> set[str]:
        commands = (["ip", "netns", "list"], ["ip", "-o", "link", "show", "type", "veth"])
        done = [subprocess.run(c, capture_output=True, text=True, check=True) for c in commands]
        return {line for one in done for line in one.stdout.splitlines() if "v0" in line}

    before = machine_state()
    probe()
    assert machine_state() == before


def test_a_port_that_is_taken_is_told_and_stops_no_run() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        number = holder.getsockname()[1]
        taken = _free_port(number)
    assert not taken.ok
    assert str(number) in taken.detail
    assert "nothing for a run" in taken.follows
    assert taken.name not in REQUIRED_TO_RUN
    assert _free_port(number).ok


def test_more_hosts_than_can_be_emulated_are_refused() -> None:
    clusters = [{"name": f"c{k}", "bs": "bs1", "devices": 99} for k in range(1, 7)]
    scenario = load_scenario("case3", {"slots": 5, "network.clusters": clusters})
    with pytest.raises(UserError, match="597 hosts; at most 500 can be emulated"):
        require_machine(RunOptions(scenario))


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026 the FFmpeg developers", (5, 1)),
        ("ffmpeg version n6.1.1 Copyright", (6, 1)),
        ("ffmpeg version N-109542-g0c0d4b1 Copyright", None),
        ("", None),
    ],
)
def test_versions_of_ffmpeg(said: str, version: tuple[int, int] | None) -> None:
    assert parse_ffmpeg_version(said) == version


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """A machine whose FFmpeg says ``said`` of itself."""
    for name in ("ffmpeg", "ffprobe"):
        path = folder / name
        path.write_text(f"#!/bin/sh\necho '{said}'\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(capabilities, "SBIN", "")


def test_a_missing_or_old_ffmpeg_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = capabilities._ffmpeg()
    assert not missing.ok
    assert missing.detail == "ffmpeg or ffprobe is not installed"
    fake_ffmpeg(tmp_path, monkeypatch, "ffmpeg version 4.2.7 Copyright (c) the developers")
    old = capabilities._ffmpeg()
    assert (old.ok, old.detail) == (False, "ffmpeg version 4.2.7: 5.0 is needed")
    fake_ffmpeg(tmp_path, monkeypatch, "ffmpeg version 6.1.1 Copyright (c) the developers")
    assert capabilities._ffmpeg().detail == "it cannot code H.264 (libx264)"
    options = RunOptions(scenario=load_scenario("livecast-mini"))
    machine = Capabilities((old,))
    with pytest.raises(UserError, match=r"livecast-mini transcodes with FFmpeg: ffmpeg version"):
        _require_real_work(options, machine)
    _require_real_work(RunOptions(scenario=load_scenario("mini")), machine)


def test_real_work_takes_real_time() -> None:
    machine = Capabilities((Finding("ffmpeg", True, "5.1"),))
    options = RunOptions(scenario=load_scenario("livecast-mini"), speedup=2.0)
    with pytest.raises(UserError, match="--speedup must be 1"):
        _require_real_work(options, machine)


@pytest.mark.root
def test_a_container_without_privilege_is_told() -> None:
    """Its root may make namespaces, and finds ``/proc/sys`` read-only in them."""
    script = (
        "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && "
        f"exec {sys.executable} -m emulation.run mini"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "LAB_VENV": sys.prefix},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "sysctl" in done.stderr
    assert "--privileged" in done.stderr
