"""The command itself: verbs, help, and how errors end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from cli import __version__, check, main
from emulation.host.capabilities import REQUIRED_TO_RUN, Capabilities, Finding
from model.errors import INTERRUPTED, UserError


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """A verb `check` that raises what the test puts into the list."""
    raises: list[BaseException | None] = [None]

    @click.command()
    def fake() -> None:
        if raises[0] is not None:
            raise raises[0]

    monkeypatch.setattr(check, "check", fake)
    return raises


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("case9: no such\nscenario"), 2, "lab: case9: no such scenario\n"),
        (KeyboardInterrupt(), 130, "lab: interrupted\n"),
        (None, 0, ""),
    ],
)
def test_errors_of_the_user_take_one_line(
    verb: list[BaseException | None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    status: int,
    words: str,
) -> None:
    verb[0] = error
    assert main.main(["check"]) == status
    assert capsys.readouterr().err.lstrip("\n") == words


def test_faults_of_the_lab_keep_their_traceback(verb: list[BaseException | None]) -> None:
    verb[0] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main.main(["check"])


@pytest.mark.parametrize("arguments", [["no-such-verb"], ["check", "--no-such-option"]])
def test_mistyped_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("lab: No such ")
    assert error.endswith("--help\n")
    assert error.count("\n") == 1


def test_verb_without_its_module_is_not_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(main.VERBS["Look"], "future", "cli.future:future")
    assert main.main(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert "future" not in help_text
    assert "check " in help_text
    assert main.main(["future"]) == 2


def test_an_interrupt_before_python_has_started_is_answered_in_a_line() -> None:
    # The shell's own process becomes Python's: what was sent to it while blocked still waits.
    script = 'kill -INT $$; exec "$0" "$@"'
    ended = subprocess.run(
        [
            "env",
            "--block-signal=INT",
            "bash",
            "-c",
            script,
            sys.executable,
            "-m",
            "cli",
            "--version",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "lab: interrupted\n")


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_an_interrupt_at_any_moment_of_the_start_gives_no_traceback(
    tmp_path: Path, after_s: float
) -> None:
    arguments = ["run", "mini", "--world", "simulator", "--slots", "20000", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [str(Path(__file__).parents[2] / "lab"), *arguments],
        env={**os.environ, "LAB_VENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that Ctrl-C, which a terminal sends to all of a group, is ours
    )
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    # The shell, which is first, has nothing to say.
    assert process.returncode in {INTERRUPTED, -signal.SIGINT}
    assert "Traceback" not in output


def test_an_interrupt_that_a_library_swallows_comes_again() -> None:
    script = (
        "import ctypes, signal, sys, time; from cli.interrupts import interrupt_again\n"
        "sys.unraisablehook = interrupt_again\n"
        "ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()\n"
        "try: print('swallowed'); time.sleep(30)\n"
        "except KeyboardInterrupt: print('told')\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (said.stdout, said.stderr) == ("swallowed\ntold\n", "")


def test_listed_verbs_are_commands() -> None:
    context = click.Context(main.lab)
    for name in main.lab.list_commands(context):
        command = main.lab.get_command(context, name)
        assert command is not None
        assert command.help


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_help_imports_no_verb() -> None:
    script = (
        "import sys; from cli.main import main; main(['--help']);"
        "sys.exit(bool({'torch', 'numpy', 'rich', 'emulation'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, check.CANNOT_RUN)])
def test_check_fails_only_where_nothing_could_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ok: bool, status: int
) -> None:
    required = [Finding(name, ok, "") for name in REQUIRED_TO_RUN]
    minor = [Finding("netem", False, "absent", "no delay"), Finding("kernel datapath", False, "")]
    monkeypatch.setattr(check, "probe", lambda: Capabilities((*required, *minor)))
    assert main.main(["check", "--json"]) == status
    assert json.loads(capsys.readouterr().out)["can_run"] is ok
    assert main.main(["check"]) == status
    table = capsys.readouterr().out
    assert "no delay" in table
    assert ("can be emulated" in table) is ok


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "mini", "--slots", "1e2"), "'1e2' is not a valid integer; write 100."),
        (("run", "mini", "--seed", "1,000"), "'1,000' is not a valid integer; write 1000."),
        (("run", "mini", "--seed", "0x10"), "'0x10' is not a valid integer; write 16."),
        (("run", "mini", "--seed", "many"), "'many' is not a valid integer."),
        (("run", "mini", "--seed", str(2**128)), "is not in the range"),
        (("train", "mini", "--seed", str(10**13)), "is not in the range"),
        (("run", "mini", "--speedup", "nan"), "nan is no finite number."),
        (("gap", "mini", "--speedup", "nan"), "nan is no finite number."),
        (("chaos", "--minutes", "inf"), "inf is no finite number."),
    ],
)
def test_numbers_of_options(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(arguments) == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("scenrio", "scenario"),
        ("chek", "check"),
        ("pyhton", "python"),
        ("Run", "run"),
        ("tset", "test"),
    ],
)
def test_a_misspelt_verb_gets_the_nearest(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([typed]) == 2
    assert f"No such command '{typed}'; did you mean '{meant}'? See: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["scenario", "shw"], ["bench", "simulater"], ["new", "polcy"]])
def test_a_misspelt_verb_below_a_verb_gets_the_nearest(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    assert "ean" in capsys.readouterr().err
