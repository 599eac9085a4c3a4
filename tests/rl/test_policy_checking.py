"""What a policy may decide, and what the simulator makes of one that decides on something else."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cli.main import main
from model.network import build_network
from model.observation import Decision, DeviceProfile, Observation, TaskView
from model.profile import device_profile
from model.scenario.load import load_scenario
from rl.policies.base import Policy
from rl.policies.checking import PolicyError, checked
from rl.simulator.run import simulate

SCENARIO = load_scenario("mini", {"slots": 8})


@pytest.fixture(scope="module")
def profile() -> DeviceProfile:
    return device_profile(SCENARIO, build_network(SCENARIO), "c1d1")


class Decides(Policy):
    """Decides on the same thing always."""

    def __init__(self, decision: object):
        self.decision = decision

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        return cast(Decision, self.decision)


LEGAL: list[tuple[Any, Any, Decision]] = [
    (0, 5.0, Decision(0, 5.0)),
    (np.int64(1), np.float64(1.0), Decision(1, 1.0)),
    (np.uint8(4), 10, Decision(4, 10.0)),
    (2, np.array(7.5), Decision(2, 7.5)),
    # One unit of float32's last place above the limit is rounding, not an intention.
    (3, float(np.nextafter(np.float32(10.0), np.float32(11.0))), Decision(3, 10.0)),
]
ILLEGAL: list[tuple[object, str]] = [
    (None, "decided on a NoneType, not a Decision"),
    ((1, 5.0), "decided on a tuple, not a Decision"),
    *(
        (Decision(cast(Any, target), 5.0), f"target {said} is not one of 0 … 4")
        for target, said in (
            (-1, "-1"),
            (5, "5"),
            (10**30, str(10**30)),
            (math.nan, "nan"),
            (1.0, "1.0"),
            (np.float32(1.0), "1.0"),
            (True, "True"),
            ("e1", "'e1'"),
            (None, "None"),
            (np.array([1, 2]), "array([1, 2])"),
        )
    ),
    *(
        (Decision(1, cast(Any, rate)), f"rate {said} is not a number from 1 to 10 Mbps")
        for rate, said in (
            (0.0, "0.0"),
            (0.99, "0.99"),
            (10.01, "10.01"),
            (-5.0, "-5.0"),
            (math.nan, "nan"),
            (math.inf, "inf"),
            (True, "True"),
            ("5", "'5'"),
            (None, "None"),
            (10**5000, "<int>"),
        )
    ),
]


@pytest.mark.parametrize(("target", "rate", "found"), LEGAL)
def test_whole_numbers_and_rates_within_limits_are_taken(
    profile: DeviceProfile, target: Any, rate: Any, found: Decision
) -> None:
    decision = checked(Decision(target, rate), profile)
    assert decision == found
    assert (type(decision.target), type(decision.rate_mbps)) == (int, float)


@pytest.mark.parametrize(("decision", "words"), ILLEGAL)
def test_all_else_is_refused_and_named(
    profile: DeviceProfile, decision: object, words: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        checked(decision, profile)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 200
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("decision", "words"), ILLEGAL)
def test_the_simulator_names_policy_device_and_value(decision: object, words: str) -> None:
    with pytest.raises(PolicyError, match=r"^policy Decides on c\dd\d: ") as refused:
        simulate(SCENARIO, lambda: Decides(decision), seed=1, record=False)
    assert words in str(refused.value)


def test_what_a_policy_raises_is_named_with_its_place() -> None:
    class Raises(Decides):
        def begin_slot(self, observation: Observation) -> None:
            raise LookupError("no slot")

    with pytest.raises(PolicyError, match=r"begin_slot: LookupError: no slot \(test_pol") as found:
        simulate(SCENARIO, lambda: Raises(None), seed=1, record=False)
    assert isinstance(found.value.__cause__, LookupError)


def test_the_command_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (
        "from model.observation import Decision",
        "from rl.policies.base import Policy",
        "class Wrong(Policy):",
        "    def decide(self, observation, task): return Decision(-1, 5.0)",
    )
    (tmp_path / "of_mine_17.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    asked = ["run", "mini", "--policy", "of_mine_17:Wrong", "--world", "simulator"]
    assert main([*asked, "--slots", "8"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "policy Wrong on c" in said
    assert "target -1 is not one of 0 … 4" in said


RAISING = """\
import json
from rl.policies.base import Policy
class Begins(Policy):
    def begin_slot(self, observation):
        json.loads("{")
class Exits(Policy):
    def decide(self, observation, task):
        raise SystemExit(3)
class Made(Policy):
    def __init__(self):
        raise KeyError("x")
"""


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (
            "raising:Begins",
            "policy Begins on c1d1: begin_slot: JSONDecodeError: .*raising.py, line 5",
        ),
        ("raising:Exits", "policy Exits on c.d.: decide: SystemExit: 3 .raising.py, line 8"),
        ("raising:Made", "policy 'raising:Made': __init__: KeyError: 'x' .raising.py, line 11"),
        ("divides:X", "policy 'divides:X': cannot import divides: ZeroDivisionError: .*, line 1"),
    ],
)
def test_what_a_users_policy_raises_takes_one_line(
    policy: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    (tmp_path / "divides.py").write_text("x = 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    out = tmp_path / "out"
    words = ["run", "mini", "--world", "simulator", "--slots", "4", "--policy", policy]
    assert main([*words, "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f"lab: {says}", error), error
    assert "Traceback" not in error
    logs = list(out.rglob("log.jsonl"))
    assert len(logs) == ("traceback is in" in error)
    for log in logs:
        assert "raising.py" in json.loads(log.read_text().splitlines()[-1])["traceback"]
