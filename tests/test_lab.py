"""The entry `./lab` and its set-up, on a copy of the checkout and with pip left out."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What dpkg-query 1.21 prints where one package is missing and one was removed but not purged.
DPKG_OUTPUT = """\
installed:python3-venv
installed:python3-dev
installed:gcc
config-files:mininet
installed:openvswitch-switch
installed:iproute2
installed:iputils-ping
installed:ethtool
installed:tshark
installed:iperf3
installed:ffmpeg
installed:procps
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what set-up reads."""
    copy = tmp_path / "checkout with spaces"
    (copy / "tools").mkdir(parents=True)
    for name in ("lab", "requirements.lock", "tools/setup.sh", "tools/unmet_pins.py"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def furnished(checkout: Path) -> Path:
    """A checkout with an environment made by hand, in which every package is found."""
    venv = checkout / ".venv"
    python = "/usr/bin/python3"
    options = ["--system-site-packages", "--without-pip"]
    subprocess.run([python, "-m", "venv", *options, venv], check=True)
    site = next(venv.glob("lib/python3*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return checkout


def shell(checkout: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with the functions of tools/setup.sh at hand."""
    begin = (
        'set -euo pipefail; die() { echo "lab: $*" >&2; exit 2; }; source "$ROOT/tools/setup.sh"\n'
    )
    variables = {"ROOT": str(checkout), "VENV": str(checkout / ".venv"), **environment}
    return subprocess.run(
        ["bash", "-c", begin + script],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def lab(
    checkout: Path, *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Call ./lab of a checkout, as if nothing were known of the environment of this process."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "PYTHON"))}
    return subprocess.run(
        [checkout / "lab", *arguments],
        cwd=cwd or checkout,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_before_set_up_installs_nothing(checkout: Path) -> None:
    done = lab(checkout, "--help")
    assert done.returncode == 0
    assert "setup" in done.stdout
    assert lab(checkout, "clean").returncode == 0
    assert not (checkout / ".venv").exists()


def test_environment_is_where_lab_venv_says(checkout: Path, tmp_path: Path) -> None:
    if not Path("/etc/default/crowd-edge-lab").exists():
        assert lab(checkout, "venv-path").stdout == f"{checkout}/.venv\n"
    elsewhere = tmp_path / "elsewhere"
    assert lab(checkout, "venv-path", LAB_VENV=str(elsewhere)).stdout == f"{elsewhere}\n"


def test_missing_packages_are_found_in_one_query(checkout: Path, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "dpkg-query"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ncat <<'E'\n{DPKG_OUTPUT}E\nexit 1\n")
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    missing = shell(checkout, "missing_apt_packages", PATH=path).stdout.split()
    assert [name for name in missing if name != "python-is-python3"] == ["mininet", "tcpdump"]


def test_what_only_checks_need_is_asked_for_by_them_alone(checkout: Path) -> None:
    with (checkout / "tools" / "setup.sh").open("a") as script:
        script.write('is_set_up() { echo "${APT_PACKAGES[@]}"; exit; }\n')
    of_run, of_test = (set(lab(checkout, verb).stdout.split()) for verb in ("run", "test"))
    assert {"mininet", "ffmpeg"} <= of_run
    assert of_test - of_run == {"debootstrap", "zsh", "fish"}


def test_other_distributions_are_told_what_to_install(checkout: Path) -> None:
    script = (
        "missing_from_system() { printf 'mn\\novs-vsctl\\n'; }\n"
        "type() { return 1; }\n"  # no apt-get
        "install_system_packages"
    )
    done = shell(checkout, script)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "please install what provides: mn ovs-vsctl" in done.stderr


def _cpu_of_children_s() -> float:
    """CPU time of all children that have ended: what else the machine does is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_sound_environment_is_adopted_and_then_left_alone(furnished: Path) -> None:
    quiet = "missing_from_system() { :; }\npip() { echo 'pip was called' >&2; return 1; }\n"
    begin = _cpu_of_children_s()
    first = shell(furnished, quiet + "set_up")
    middle = _cpu_of_children_s()
    second = shell(furnished, quiet + "venv_is_current && is_set_up")
    end = _cpu_of_children_s()
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    assert "pip was called" not in first.stderr
    # The first call looks every pin up; the second compares one hash.
    assert end - middle < (middle - begin) / 2


def test_change_of_a_pin_or_of_set_up_is_noticed(furnished: Path) -> None:
    assert shell(furnished, "missing_from_system() { :; }; set_up").returncode == 0
    for name in ("requirements.lock", "tools/setup.sh"):
        path = furnished / name
        before = path.read_text()
        path.write_text(before + "# changed\n")
        assert shell(furnished, "venv_is_current").returncode != 0
        path.write_text(before)
        assert shell(furnished, "venv_is_current").returncode == 0


@pytest.mark.parametrize(
    "damage",
    [
        "touch $VENV/lab-installing",
        "rm $VENV/bin/python",
        "rm $VENV/pyvenv.cfg",
        "ln -sf /bin/sh $VENV/bin/python",
        "sed -i s/true/false/ $VENV/pyvenv.cfg",
    ],
)
def test_broken_environment_is_made_anew(furnished: Path, damage: str) -> None:
    assert shell(furnished, "venv_is_sound").returncode == 0
    script = damage.replace("$VENV", '"$VENV"') + "; ! venv_is_sound"
    assert shell(furnished, script).returncode == 0


@pytest.mark.parametrize(("pip_does", "marked"), [("exit 1", False), ("kill -9 $PPID", True)])
def test_killed_installation_leaves_its_mark_and_a_failed_one_does_not(
    checkout: Path, pip_does: str, marked: bool
) -> None:
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{pip_does}\n")
    python.chmod(0o755)
    assert shell(checkout, "pip install something").returncode != 0
    assert (checkout / ".venv/lab-installing").exists() is marked


def test_failing_step_shows_the_end_of_its_log(checkout: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = shell(checkout, "step 'a step' bash -c 'seq 100; exit 3'", SETUP_LOG=str(log))
    assert done.returncode == 2
    assert "| 100" in done.stderr
    assert "| 50\n" not in done.stderr
    assert str(log) in done.stderr


def test_two_at_once_do_not_meet(furnished: Path) -> None:
    trace = furnished / "trace"
    slow = (
        "missing_from_system() { :; }\n"
        f"set_up_venv() {{ echo in >>'{trace}'; sleep 1; echo out >>'{trace}'\n"
        'wanted_stamp >"$VENV/lab-stamp"; }\n'
    )
    done = shell(furnished, slow + "(set_up) & (set_up) & wait")
    assert done.returncode == 0, done.stderr
    # The second waited and found it done.
    assert trace.read_text().split() == ["in", "out"]
    assert "waiting for another set-up" in done.stderr


def test_folder_that_is_no_environment_is_not_replaced(checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    done = shell(checkout, "missing_from_system() { :; }; set_up", VENV=str(home))
    assert done.returncode == 2
    assert "in the way" in done.stderr
    assert (home / "letter.txt").exists()


def test_verbs_keep_the_callers_folder_and_find_the_project(
    furnished: Path, tmp_path: Path
) -> None:
    assert shell(furnished, "missing_from_system() { :; }; set_up").returncode == 0
    (furnished / "model.py").write_text("HERE = 'checkout'\n")
    caller = tmp_path / "caller"
    caller.mkdir()
    (caller / "model.py").write_text("HERE = 'caller'\n")
    script = "import os, model; print(os.getcwd(), model.HERE)"
    done = lab(furnished, "python", "-c", script, cwd=caller)
    assert done.stdout == f"{caller} checkout\n", done.stderr


@pytest.mark.parametrize(("asked", "most"), [({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)])
def test_numpy_and_torch_use_one_thread_unless_asked_for_more(
    asked: dict[str, str], most: int
) -> None:
    script = (
        "import os, numpy, torch; x = numpy.ones((600, 600)); x @ x; "
        "print(len(os.listdir('/proc/self/task')), torch.get_num_threads())"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | asked
    done = subprocess.run(
        [ROOT / "lab", "python", "-c", script],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(min(most, len(os.sched_getaffinity(0)))), str(most)]


def test_unmet_pins(tmp_path: Path) -> None:
    pins = tmp_path / "lock"
    pins.write_text("# a comment\n\npytest==0.0.1\nno-such-package==1\n")
    done = subprocess.run(
        [sys.executable, ROOT / "tools/unmet_pins.py", pins, f"pytest=={pytest.__version__}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["pytest==0.0.1", "no-such-package==1"]


def test_a_verb_begins_deaf_to_interrupts_until_python_unblocks_them(
    checkout: Path, tmp_path: Path
) -> None:
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"#!{sys.executable}\nimport signal\n"
        "print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    python.chmod(0o755)
    (tmp_path / "venv/lab-stamp").touch()
    assert lab(checkout, "--help", LAB_VENV=str(tmp_path / "venv")).stdout == "True\n"
