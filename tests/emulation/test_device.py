"""What a device remembers, and what it makes of its policy's decisions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emulation.node.observations import Memory
from emulation.protocol.messages import Ping, Seen, Slot, from_list, to_list

TARGETS = ("c1d1", "c1d2", "e1")


def test_nothing_is_known_at_first() -> None:
    seen = Memory(TARGETS).observe(3.0, 1.5, 4.0)
    assert (seen.time_s, seen.queue_ghz_s, seen.ghz) == (3.0, 1.5, 4.0)
    assert seen.rtt_s[0] == seen.rtt_age_s[0] == seen.idle_rtt_s[0] == 0.0
    assert np.isnan(seen.rtt_s[1:]).all()
    assert np.isinf(seen.rtt_age_s[1:]).all()
    for unknown in (seen.delivery_s, seen.delivery_data_mb, seen.processing_s):
        assert np.isnan(unknown).all()
    assert np.isinf(seen.delivery_age_s).all()
    assert np.isinf(seen.processing_age_s).all()
    assert not seen.inflight_tasks.any()
    assert seen.status_queue_ghz_s is None
    assert not seen.network_delay_s.any()


def test_pings_and_idle_paths() -> None:
    memory = Memory(TARGETS)
    memory.idle(2, 0.001)
    memory.pinged(2, 5.0, 0.051)
    seen = memory.observe(7.0, 0.0, 4.0)
    assert seen.rtt_age_s[2] == 2.0
    assert seen.network_delay_s[2] == pytest.approx(0.05)


def test_a_task_from_sent_to_known() -> None:
    memory = Memory(TARGETS)
    memory.sent(2, 3.0, 0.5)
    memory.sent(2, 1.0, 2.0)
    assert memory.observe(0.0, 0.0, 4.0).inflight_data_mb[2] == 2.5
    memory.delivered(2, 4.0, 1.25, 0.5)
    seen = memory.observe(6.0, 0.0, 4.0)
    assert (seen.inflight_tasks[2], seen.inflight_work_ghz_s[2]) == (2.0, 4.0)
    assert seen.inflight_data_mb[2] == 2.0
    assert (seen.delivery_s[2], seen.delivery_data_mb[2], seen.delivery_age_s[2]) == (
        1.25,
        0.5,
        2.0,
    )
    memory.known(2, 7.0, 0.75, 3.0)
    memory.failed(2, 1.0, 2.0)
    seen = memory.observe(8.0, 0.0, 4.0)
    assert not seen.inflight_tasks.any()
    assert not seen.inflight_work_ghz_s.any()
    assert not seen.inflight_data_mb.any()
    assert (seen.processing_s[2], seen.processing_work_ghz_s[2], seen.processing_age_s[2]) == (
        0.75,
        3.0,
        1.0,
    )
    assert seen.results.tolist() == [0.0, 0.0, 1.0]


def test_an_own_task_has_no_data_under_way() -> None:
    memory = Memory(TARGETS)
    memory.sent(0, 3.0, 0.5)
    seen = memory.observe(0.0, 0.0, 4.0)
    assert seen.inflight_tasks[0] == 1.0
    assert seen.inflight_data_mb[0] == 0.0


def test_a_policy_cannot_change_what_is_remembered() -> None:
    memory = Memory(TARGETS, status=True)
    memory.told({"e1": 9.0, "elsewhere": 1.0}, {"e1": 30.0})
    seen = memory.observe(0.0, 2.0, 4.0)
    assert seen.status_queue_ghz_s is not None
    assert seen.status_ghz is not None
    assert seen.status_queue_ghz_s[0] == 2.0
    assert seen.status_ghz[2] == 30.0
    seen.rtt_s[:] = seen.status_ghz[:] = 99.0
    again = memory.observe(0.0, 2.0, 4.0)
    assert np.isnan(again.rtt_s[1])
    assert again.status_ghz is not None
    assert again.status_ghz[2] == 30.0


def test_records_read_as_they_were_written() -> None:
    seen = Seen(3, 0.0, 4.0, [0.5, -1.0])
    for record in (Slot(0, 0.001, 2.0, 30.0, None), Ping("e1", 1.0, None), seen):
        assert from_list(to_list(record)) == record
    for nonsense in (
        *([], ["what"], ["ping", 1], {"ping": 1}, [["ping"]]),
        *(["seen", 0, 0.0, 1.0, ["e1"]], ["seen", 0, 0.0, 1.0, [math.nan]]),
        *(["baseline", {}, [1.0]], ["baseline", {"e1": []}, []]),
    ):
        with pytest.raises(ValueError, match="not a record"):
            from_list(nonsense)
