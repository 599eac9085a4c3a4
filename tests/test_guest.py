"""What makes a virtual machine or a container of the lab, as far as no machine is needed for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A machine's folder after set-up of a checkout whose ``lab`` only says that it was called."""
    checkout = tmp_path / "the checkout"
    checkout.mkdir()
    (checkout / "lab").write_text('echo "$PWD: $*" >called\n')
    subprocess.run(
        ["bash", ROOT / "tools/guest.sh", checkout],
        env={**os.environ, "ETC": str(tmp_path / "etc")},
        check=True,
    )
    (tmp_path / "home").mkdir()
    return tmp_path


def test_set_up_is_called_in_the_checkout(guest: Path) -> None:
    checkout = guest / "the checkout"
    assert (checkout / "called").read_text() == f"{checkout}: setup\n"
    assert (guest / "etc/default/crowd-edge-lab").read_text().startswith("LAB_VENV=/opt/")


@pytest.mark.parametrize(("begun", "ended"), [("home", "the checkout"), ("etc", "etc")])
def test_a_login_stands_in_the_checkout_and_a_folder_once_chosen_stays(
    guest: Path, begun: str, ended: str
) -> None:
    script = f". '{guest}/etc/profile.d/crowd-edge-lab.sh'; pwd"
    for shell in ("bash", "sh"):
        done = subprocess.run(
            [shell, "-c", script],
            cwd=guest / begun,
            env={"HOME": str(guest / "home"), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{guest / ended}\n"


def test_the_command_as_typed_reaches_the_lab(guest: Path) -> None:
    """Called in the checkout, the module enters the lab; sudo keeps the folder."""
    package = guest / "the checkout" / "emulation"
    package.mkdir()
    shutil.copy(ROOT / "emulation/run.py", package)
    (package / "__init__.py").touch()
    entry = guest / "the checkout" / "lab"
    entry.write_text('#!/bin/sh\necho "lab $*"\n')
    entry.chmod(0o755)
    login = f". '{guest}/etc/profile.d/crowd-edge-lab.sh'; python3 -m emulation.run case3"
    done = subprocess.run(
        ["bash", "-c", login],
        cwd=guest / "home",
        env={"HOME": str(guest / "home"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "lab python -m emulation.run case3\n"


def test_vagrantfile_is_ruby_that_names_the_script() -> None:
    text = (ROOT / "Vagrantfile").read_text()
    assert '"tools/guest.sh"' in text
    if shutil.which("ruby") is None:
        pytest.skip("ruby is not installed, which would check the Vagrantfile")
    subprocess.run(["ruby", "-c", ROOT / "Vagrantfile"], check=True, capture_output=True)
