"""The messages in README.md's table of troubles are those that a user gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from cli.run import run as cli_run
from emulation import run
from emulation.host.capabilities import REQUIRED_TO_RUN, Capabilities, Finding
from emulation.options import RunOptions
from emulation.protocol.link_limits import require_buffers, require_first_exchanges
from emulation.sandbox.policy_files import hidden_folders, require_files_of_policy
from model.errors import UserError
from model.network import build_network
from model.scenario.load import load_scenario
from rl.learning.config import load_config
from rl.policies import completed, create

ROOT = Path(__file__).resolve().parent.parent
_ABLE = [Finding(name, ok=True, detail="") for name in REQUIRED_TO_RUN]


def machine(monkeypatch: pytest.MonkeyPatch, *lacking: str) -> None:
    found = [f for f in _ABLE if f.name not in lacking]
    absent = [Finding(name, ok=False, detail="absent", follows="?") for name in lacking]
    kernel = Finding("kernel datapath", ok=False, detail="")
    monkeypatch.setattr(run, "probe", lambda: Capabilities((*found, *absent, kernel)))


def not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "privilege")
    run.require_machine(RunOptions(load_scenario("mini")))


def no_netem(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "netem")
    run.require_machine(RunOptions(load_scenario("case1-cloud")))


def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    load_config("my_learner:Mine", {})


def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulation.sandbox.policy_files._can_read", lambda *_: False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    require_files_of_policy("mine:Mine", {"weights": str(Path(__file__).resolve())}, ())


def too_slow(_: pytest.MonkeyPatch) -> None:
    slow = load_scenario("case3", {"network.access.rate_mbps": 0.01})
    require_first_exchanges(slow, build_network(slow), 1.0)


def too_small(_: pytest.MonkeyPatch) -> None:
    require_buffers(load_scenario("mini", {"network.e2d.buffer_mb": 0.01}), 50.0)


def unknown_key(_: pytest.MonkeyPatch) -> None:
    load_scenario("mini", {"network.acess": 1})


def absent_module(_: pytest.MonkeyPatch) -> None:
    run.require_policy(RunOptions(load_scenario("mini"), "no_such_module:Mine"))


def hidden(_: pytest.MonkeyPatch) -> None:
    params = {"weights": str(ROOT / "scenarios" / "mini.yaml")}
    require_files_of_policy("mine:Mine", params, hidden_folders(Path("results"), "mini"))


def meaningless(_: pytest.MonkeyPatch) -> None:
    words = ["mini", "--world", "simulator", "--speedup", "4"]
    with pytest.raises(click.UsageError) as caught:
        cli_run.main(words, standalone_mode=False)
    raise UserError(caught.value.format_message())


TROUBLES: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    "this machine cannot emulate now": not_root,
    "asks for delay or loss": no_netem,
    "no checkpoint of": lambda _: completed("m2ppo", {}, load_scenario("mini")),
    "there is no option '…'": lambda _: load_config("m2ppo", {"learning_rat": 0.1}),
    "there is no policy": lambda _: create("own-egde"),
    "policy '…': there is no such module": absent_module,
    "learner '…': root imports no code": as_root,
    "… cannot be read by uid": unreadable,
    "the first pings and connections of": too_slow,
    "network.….buffer_mb = …": too_small,
    "… lies in …, which devices do not see": hidden,
    "…: no meaning with --world simulator": meaningless,
    "unknown key": unknown_key,
}
"""Beginning of a row → what brings its message about. The other rows are not raised by Python."""
ELSEWHERE = {
    "compiling the simulator (once)": "rl/simulator/__init__.py",
    "fidelity: invalid: no idle CPU in … seconds": "metrics/fidelity.py",
    "… too busy": "tests/repeating.py",
    "… the run would not be the same; --anyway runs it": "cli/rerun.py",
    "set-up stopped at …": "tools/setup.sh",
    "… is missing or out of date, and not yours to change": "tools/setup.sh",
}


def rows() -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    table = text.partition("## If something is in the way")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def test_every_row_is_tried() -> None:
    raised = [row for row in rows() if row.startswith(tuple(TROUBLES))]
    assert len(raised) == len(TROUBLES)
    assert set(rows()) - set(raised) == set(ELSEWHERE)


@pytest.mark.parametrize("begin", TROUBLES)
def test_the_message_is_as_told(begin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = [row for row in rows() if row.startswith(begin)]
    with pytest.raises(UserError) as caught:
        TROUBLES[begin](monkeypatch)
    pattern = ".*".join(re.escape(part) for part in row.split("…"))
    assert re.search(pattern, str(caught.value), re.DOTALL)


@pytest.mark.parametrize("row", ELSEWHERE)
def test_other_messages_are_in_the_source(row: str) -> None:
    source = (ROOT / ELSEWHERE[row]).read_text("utf-8")
    parts = [part.strip() for part in re.split(r"…|fidelity: invalid: ", row)]
    assert all(part in source for part in parts)
