"""Tasks that a unit refuses: not the sender's, not born, not what the trace says, or served."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace

import pytest

from emulation.node.admission import Admission
from emulation.node.event_loop import Clock
from emulation.orchestrator.briefer import Briefer
from emulation.protocol.briefing import Briefing, payload_bytes
from emulation.protocol.frames import Frame, Kind, WireError, encode
from model.network import build_network
from model.workload import generate_trace
from tests.emulation.scenarios import small_scenario
from tests.emulation.test_transfer import LOCALHOST, Bed

SCENARIO = small_scenario().model_copy(update={"slots": 60})
NETWORK = build_network(SCENARIO)
TRACE = generate_trace(SCENARIO, 5, NETWORK)
SPEEDUP = 2.0
BRIEFER = Briefer(SCENARIO, NETWORK, TRACE, 5, SPEEDUP)
TASK = next(int(k) for k in TRACE.of_device(0) if TRACE.data_mb[k] > 0 and TRACE.work_ghz_s[k] > 0)
HONEST = Frame(
    Kind.TASK, 0, TASK, 1,
    payload_bytes(float(TRACE.data_mb[TASK]), SPEEDUP), float(TRACE.work_ghz_s[TASK]),
)  # fmt: skip


class At(Clock):
    """A clock that stands."""

    def __init__(self, now_s: float):
        super().__init__(1.0)
        self.now_s = now_s

    def now(self) -> float:
        return self.now_s


def admission(unit: str, now_s: float = 60.0) -> Admission:
    briefing = BRIEFER.brief(unit, "local", {})
    return Admission(Briefing.from_json(json.loads(json.dumps(briefing.to_json()))), At(now_s))


@pytest.mark.parametrize("unit", ["e1", "e2", "c1d2"])
def test_an_honest_task_is_taken_in(unit: str) -> None:
    admission(unit).require(HONEST, again=False)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"value": 0.0}, "is not of 0 GHz·s"), ({"value": HONEST.value + 1}, "is not of"),
     ({"value": 1e7}, "no task is of 1e\\+07"), ({"payload_bytes": 0}, "is not of 0 bytes"),
     ({"payload_bytes": 10**9}, "no task is of 1000000000 bytes")],
)  # fmt: skip
def test_other_work_or_size_is_refused_by_edges(change: dict[str, float], why: str) -> None:
    with pytest.raises(WireError, match=why):
        admission("e1").require(HONEST._replace(**change), again=False)  # type: ignore[arg-type]


def test_a_task_is_refused_before_its_birth_and_after_its_service() -> None:
    born = float(TRACE.born_s[TASK])
    with pytest.raises(WireError, match="is not born yet"):
        admission("e1", born - 0.01).require(HONEST, again=False)
    unit = admission("e1", born)
    unit.require(HONEST, again=False)
    unit.taken(HONEST)
    unit.require(HONEST, again=True)
    with pytest.raises(WireError, match="has been served"):
        unit.require(HONEST, again=False)


@pytest.mark.parametrize("change", [{"value": 1e7}, {"payload_bytes": 10**9}])
def test_a_device_takes_nothing_that_no_task_can_be(change: dict[str, float]) -> None:
    with pytest.raises(WireError, match="no task is of"):
        admission("c1d2").require(HONEST._replace(**change), again=False)  # type: ignore[arg-type]


def test_a_device_learns_nothing_of_the_others_tasks() -> None:
    told = BRIEFER.brief("c1d2", "local", {})
    assert told.expected is None
    assert told.owners is None
    other = generate_trace(SCENARIO, 6, NETWORK)
    again = Briefer(SCENARIO, NETWORK, other, 6, SPEEDUP).brief("c1d2", "local", {})
    assert told.most_work_ghz_s == again.most_work_ghz_s > float(TRACE.work_ghz_s.max())
    assert told.most_payload_bytes == again.most_payload_bytes
    sizes = [payload_bytes(float(v), SPEEDUP) for v in TRACE.data_mb]
    assert told.most_payload_bytes > max(sizes)


def test_a_unit_refuses_and_serves_others() -> None:
    bed = Bed()
    briefing = replace(BRIEFER.brief("e1", "", {}), owners=None)
    bed.unit.admission = Admission(briefing, At(60.0))
    with socket.create_connection((LOCALHOST, bed.port)) as hostile:
        hostile.settimeout(5)
        hostile.sendall(encode(HONEST._replace(value=0.0, payload_bytes=0)))
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not bed.records:
            bed.loop.step(0.01)
        assert b"is not of 0 GHz" in hostile.recv(600)
    assert bed.unit.served == 0
    bed.sender.close()
    bed.unit.close()
    bed.loop.close()
