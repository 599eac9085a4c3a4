"""The clock of the slots: order, times, and the order to stop."""

from __future__ import annotations

import asyncio
import time

import pytest

from emulation.orchestrator.slot_loop import SlotLoop

SLOT_S = 0.02


def test_each_slot_ends_and_then_has_its_reports() -> None:
    calls: list[tuple[str, int]] = []
    begin = time.monotonic() + 0.01
    ends: list[float] = []

    def on_end(slot: int, late_s: float) -> None:
        calls.append(("end", slot))
        ends.append(time.monotonic())
        assert 0.0 <= late_s <= ends[-1] - begin - (slot + 1) * SLOT_S

    loop = SlotLoop(3, SLOT_S)
    complete = asyncio.run(loop.run(begin, on_end, lambda k: calls.append(("reports", k))))
    assert complete
    assert calls == [(what, k) for k in range(3) for what in ("end", "reports")]
    assert all(end >= begin + (k + 1) * SLOT_S for k, end in enumerate(ends))


def test_slots_that_are_overdue_are_not_waited_for() -> None:
    late: list[float] = []
    loop = SlotLoop(3, SLOT_S)
    begin = time.monotonic() - 10.0
    assert asyncio.run(loop.run(begin, lambda _, late_s: late.append(late_s), lambda _: None))
    assert min(late) > 9.0


@pytest.mark.parametrize("when", ["end", "reports", "between"])
def test_an_order_to_stop_is_obeyed_at_once(when: str) -> None:
    loop = SlotLoop(1000, 0.05)
    reported: list[int] = []

    def on_end(slot: int, _: float) -> None:
        if when == "end" and slot == 1:
            loop.ask_to_stop()

    def on_reports(slot: int) -> None:
        reported.append(slot)
        if when == "reports" and slot == 1:
            loop.ask_to_stop()

    async def main() -> bool:
        if when == "between":
            asyncio.get_running_loop().call_later(0.01, loop.ask_to_stop)
        return await loop.run(time.monotonic(), on_end, on_reports)

    assert asyncio.run(main()) is False
    assert loop.stop_asked
    assert len(reported) == {"end": 1, "reports": 2, "between": 0}[when]


def test_a_failure_of_what_a_slot_brings_ends_the_loop() -> None:
    def fail(_: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(SlotLoop(3, SLOT_S).run(time.monotonic(), lambda _, __: None, fail))
