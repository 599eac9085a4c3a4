"""Hostile policies in real runs: each attack fails, and each could succeed without the walls."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulation.orchestrator.briefer import Briefer
from experiments.chaos import snapshot
from model.network import build_network
from model.scenario import Scenario
from model.scenario.load import load_scenario
from model.workload import generate_trace
from records.reader import Result, find_results, open_result
from tests.busy import alone, require_idle
from tests.emulation.attacks import files, network, objects  # noqa: F401 - they enter their attacks
from tests.emulation.attacks.base import ATTACKS, INTENTS, PREFIX, masked
from tests.emulation.typed import PROJECT, run_lab

pytestmark = [
    pytest.mark.ovs,
    pytest.mark.slow,
    pytest.mark.timeout(420),
]
HOSTILE = "tests.emulation.attacks.hostile"
SEED = 987654321
_SLOTS = 40
"""One for each attack of a device, and more for attacks that take longer than a slot: all policies
together get half of the cores."""
SECRETS = {"network.access.rate_mbps": 19.876, "network.access.buffer_mb": 3.456789}
"""Numbers that are nowhere else, so that finding one means that it was told."""


def emulate(out: Path, policy: str, *arguments: str, slots: int = 6) -> Result:
    """A run as a user makes it; its result."""
    settings = [w for k, v in {**SECRETS, "slots": slots}.items() for w in ("--set", f"{k}={v}")]
    who = ["--seed", str(SEED), "--policy", f"{HOSTILE}:{policy}"]
    done = run_lab("mini", out, *who, *settings, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = find_results(out)
    run_id = folder.name.rpartition("-")[2]
    assert not snapshot.take().of_run(run_id), "something of the run has stayed"
    return open_result(folder)


def log_of(result: Result) -> list[dict[str, Any]]:
    text = (result.folder / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def told(scenario: Scenario) -> dict[str, set[float]]:
    """Numbers that only one device may know each: births of its tasks, changes of its F(t)."""
    graph = build_network(scenario)
    briefer = Briefer(scenario, graph, generate_trace(scenario, SEED, graph), SEED, 1.0)
    numbers = {}
    for device in graph.devices:
        briefing = briefer.brief(device.name, "local", {})
        assert briefing.agent is not None
        numbers[device.name] = {*briefing.agent.tasks.born_s, *briefing.frequency.start_s[1:]}
    return numbers


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attack."""

    worked: bool
    how: str


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """A run in which the devices share out all attacks; prints what came of each.

    On a busy machine an attack may take several slots, so that others are not carried out: then
    once more, with three times as many slots.
    """
    found: dict[str, Outcome] = {}
    for slots in (_SLOTS, 3 * _SLOTS):
        out = tmp_path_factory.mktemp("attacked")
        found |= attacked(emulate(out, "Hostile", *parameters(out, slots), slots=slots))
        if found.keys() >= ATTACKS.keys():
            break
    yield found
    sys.stdout.write(table(found))


def attacked(result: Result) -> dict[str, Outcome]:
    """What came of each attack that was carried out in a run."""
    found: dict[str, Outcome] = {}
    for line in log_of(result):
        match = re.search(r"Report: (\[.*\]) \(\w+\.py, line \d+\)$", str(line.get("text", "")))
        if match is not None:
            prefix, name, worked, how = json.loads(match[1])
            assert prefix == PREFIX
            found[name] = Outcome(worked, how)
    return found


def parameters(out: Path, slots: int) -> list[str]:
    """What the hostile policy is told, disguised, so that it can look for it."""
    secret = {float(SEED), *SECRETS.values(), *(v * 1e6 for v in SECRETS.values())}
    numbers = {"": secret, **told(load_scenario("mini", {**SECRETS, "slots": slots}))}
    words = [f"{name}={','.join(str(masked(v)) for v in vs)}" for name, vs in numbers.items()]
    settings = {"project": str(PROJECT), "out": str(out), "numbers": ";".join(words)}
    return [w for k, v in settings.items() for w in ("--param", f"{k}='{v}'")]


def table(found: dict[str, Outcome]) -> str:
    """The report: what was tried, and how it failed."""
    lines = ["", f"{len(found)} attacks from inside a device's process:"]
    for name, outcome in sorted(found.items()):
        end = "WORKED" if outcome.worked else "failed"
        lines.append(f"  {end}  {INTENTS[name]}")
        lines.append(f"          {outcome.how[:150]}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_fails(outcomes: dict[str, Outcome], name: str) -> None:
    assert name in outcomes, "the attack was not carried out"
    assert not outcomes[name].worked, outcomes[name].how
    # A wall stopped it, not a slip of its own.
    assert not re.search(r"(Attribute|Type|Name|Key|Index)Error", outcomes[name].how)


UNWALLED = (
    "read-secrets", "list-secrets", "read-other-processes", "read-the-machine",
    "count-with-the-kernel", "outlive-the-run", "write-anywhere",
    "trace-and-read-memory", "kill-others", "regain-capabilities", "mount-and-chroot",
    "use-the-kernel", "fork-bomb", "raw-sockets", "take-all-memory", "walk-all-objects",
    "scrape-own-memory", "enter-namespaces", "fill-the-disk",
)  # fmt: skip
PROBE = """
import sys
from tests.emulation.attacks import files, network, objects
from tests.emulation.attacks.base import Scene, carry_out, masked
from model.scenario.load import load_scenario
secret = load_scenario("mini", {"network.access.rate_mbps": 19.876543})
own = [1234.56789 + len(sys.argv)]
scene = Scene(None, None, None, sys.argv[2], sys.argv[3], frozenset({masked(own[0])}),
              frozenset({masked(19.876543)}))
worked, how = carry_out(sys.argv[1], scene)
print(worked, how)
sys.exit(0 if worked else 1)
"""


@pytest.mark.parametrize("name", UNWALLED)
def test_an_attack_works_without_walls(tmp_path: Path, name: str) -> None:
    """The same code in a process that has kept its privileges: the suite can fail."""
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--ipc", sys.executable, "-c", PROBE, name, str(PROJECT),
         str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


ENDED = {
    "Floods": "it sent more than 2000 lines of text",
    "Prints": "it sent more than 2000 lines of text",
    "SendsMuch": "it sent more than 4096 bytes in one packet",
    "DecidesUnasked": "it sent a decision that was not asked for",
    "SpeaksOldRecords": "it sent a packet that is no answer",
    "ReadyTwice": "it sent a packet that is no answer",
    "ClosesThePipe": "its process has ended",
    "Leaves": "its process has ended",
}


@pytest.mark.timing
@pytest.mark.parametrize(
    "ways",
    [
        ("Floods", "SendsMuch", "Honest", "DecidesUnasked"),
        ("SpeaksOldRecords", "Honest", "ReadyTwice", "ClosesThePipe"),
        ("Leaves", "Prints", "NeverAnswers", "Honest"),
    ],
)
def test_a_policy_that_breaks_its_pipe_is_replaced_and_harms_no_other(
    tmp_path: Path, ways: tuple[str, ...]
) -> None:
    with alone():
        result = emulate(tmp_path, "EachInItsWay", "--param", f"ways={','.join(ways)}")
    require_idle(result)  # Policies get what the network leaves them of a processor.
    manifest = result.manifest
    assert manifest["complete"] is True
    assert not manifest["lost_processes"]
    assert not manifest["refused_records"]
    incidents = {i["what"]: i["text"] for i in manifest["incidents"]}
    names = ("c1d1", "c1d2", "c2d1", "c2d2")
    tasks = result.table("tasks").to_pylist()
    for name, way in zip(names, ways, strict=True):
        late = [t["target_kind"] for t in tasks if t["device"] == name and t["born_s"] > 4.0]
        if way == "Honest":
            assert name not in incidents
            assert set(late) == {"edge"}
            continue
        assert set(late) == {"self"}
        assert not any(t["outcome"] == "failed" for t in tasks if t["device"] == name)
        if way == "NeverAnswers":
            assert name not in incidents
            assert manifest["nodes"][name]["undecided"] >= len(late)
        else:
            assert ENDED[way] in incidents[name], way
    assert manifest["fidelity"]["valid"] is False
    lines = [str(line.get("text")) for line in log_of(result)]
    assert sum("policy prints: " in line for line in lines) <= 400
    assert all(line.isprintable() for line in lines)
