"""Settings of the kernel: what is to be switched off may be absent, what is needed may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulation.host import sysctls
from emulation.host.netlink import inside
from emulation.host.sysctls import NEEDED_IN_HOSTS, OFF_IN_HOSTS, SysctlError

PROJECT = Path(__file__).parents[2]


def fill(root: Path, values: dict[str, str]) -> None:
    """Make a folder that looks like a namespace's ``/proc/sys``."""
    for name, value in values.items():
        path = Path(root, *name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value.replace(" ", "\t") + "\n", encoding="ascii")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Give a machine's settings and a namespace's, between which ``inside`` changes."""
    machine, namespace = tmp_path / "machine", tmp_path / "namespace"
    for root in (machine, namespace):
        fill(root, dict.fromkeys(NEEDED_IN_HOSTS | OFF_IN_HOSTS, "7"))
    monkeypatch.setattr(sysctls, "_ROOT", str(machine))

    def enter(_: str, work: object) -> None:
        with pytest.MonkeyPatch.context() as there:
            there.setattr(sysctls, "_ROOT", str(namespace))
            work()  # type: ignore[operator]

    monkeypatch.setattr("emulation.host.netlink.inside", enter)
    return machine, namespace


def words(root: Path, name: str) -> str:
    return Path(root, *name.split(".")).read_text(encoding="ascii").strip()


def remove(root: Path, *names: str) -> None:
    for name in names:
        Path(root, *name.split(".")).unlink()


def write() -> None:
    sysctls.write("any", NEEDED_IN_HOSTS, OFF_IN_HOSTS)


def test_all_settings_are_written_in_the_namespace_alone(settings: tuple[Path, Path]) -> None:
    machine, namespace = settings
    write()
    for name, value in (NEEDED_IN_HOSTS | OFF_IN_HOSTS).items():
        assert words(namespace, name) == value
        assert words(machine, name) == "7"


@pytest.mark.parametrize("name", sorted(OFF_IN_HOSTS))
def test_what_is_switched_off_may_be_absent(settings: tuple[Path, Path], name: str) -> None:
    for root in settings:
        remove(root, name)
    write()
    assert not Path(settings[1], *name.split(".")).exists()
    others = (NEEDED_IN_HOSTS | OFF_IN_HOSTS).items()
    assert all(words(settings[1], k) == value for k, value in others if k != name)


@pytest.mark.parametrize("name", sorted(NEEDED_IN_HOSTS))
def test_what_is_needed_may_not(settings: tuple[Path, Path], name: str) -> None:
    for root in settings:
        remove(root, name)
    with pytest.raises(SysctlError, match=f"no {name}"):
        write()


def test_a_setting_of_the_whole_machine_counts_where_it_is_right(
    settings: tuple[Path, Path],
) -> None:
    name = "net.ipv4.tcp_autocorking"
    remove(settings[1], name)
    with pytest.raises(SysctlError, match=f"sysctl -w '{name}=0'"):
        write()
    fill(settings[0], {name: "0"})
    write()


def test_a_value_that_is_there_already_needs_no_writing(settings: tuple[Path, Path]) -> None:
    fill(settings[1], NEEDED_IN_HOSTS | OFF_IN_HOSTS)
    before = {p: p.stat().st_mtime_ns for p in settings[1].rglob("*") if p.is_file()}
    write()
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_value_that_the_kernel_changes_is_refused(
    settings: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: 0)
    with pytest.raises(SysctlError, match="made '7' of"):
        write()


_WITHOUT_IPV6 = """
import subprocess
from emulation import run; from emulation.host import sysctls
from emulation.host.netlink import inside

def hide():
    command = ["mount", "-t", "tmpfs", "none", "/proc/sys/net/ipv6"]
    subprocess.run(command, check=True)

write = sysctls.write
def without_ipv6(namespace, *settings):
    inside(namespace, hide)
    write(namespace, *settings)

hide()
sysctls.write = without_ipv6
run.main()
"""


@pytest.mark.ovs
@pytest.mark.slow
def test_a_kernel_without_ipv6_emulates(tmp_path: Path) -> None:
    """``ipv6.disable=1`` leaves ``/proc/sys/net/ipv6`` out, in every namespace."""
    arguments = ["mini", "--slots", "3", "--out", str(tmp_path)]
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", _WITHOUT_IPV6, *arguments],
        env={**os.environ, "LAB_VENV": sys.prefix, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.root
def test_the_trial_takes_a_kernel_without_ipv6() -> None:
    hidden = f"mount -t tmpfs none /proc/sys/net/ipv6 && {sysctls.trial()}"
    for command, ok in ((hidden, True), (sysctls.trial(), True), ("false && true", False)):
        done = subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) is ok, done.stderr


@pytest.mark.root
def test_the_machine_keeps_its_own_settings() -> None:
    names = NEEDED_IN_HOSTS | OFF_IN_HOSTS
    before = {name: sysctls._read(name) for name in names}
    namespace = f"t{os.getpid()}sysctls"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        sysctls.write(namespace, NEEDED_IN_HOSTS, OFF_IN_HOSTS)
        found = inside(namespace, lambda: {name: sysctls._read(name) for name in names})
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)
    assert {name: value for name, value in found.items() if value is not None} == {
        name: value for name, value in names.items() if found[name] is not None
    }
    assert {name: sysctls._read(name) for name in names} == before
