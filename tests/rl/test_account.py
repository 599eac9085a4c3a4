"""What agents pay comes to eq. (7), whenever it is learned."""

from __future__ import annotations

import numpy as np
import pytest

from model.network import build_network
from model.profile import device_profile
from model.workload import TaskTrace
from rl.environment.rewards import UNDECIDED, Account
from tests.rl.worlds import small

SCENARIO = small(devices=1)
NETWORK = build_network(SCENARIO)
PROFILES = [device_profile(SCENARIO, NETWORK, d.name) for d in NETWORK.devices]
TRACE = TaskTrace(
    device=np.array([0, 1, 0], dtype=np.int32),
    born_s=np.array([0.2, 0.5, 1.5]),
    work_ghz_s=np.array([10.0, 0.0, 4.0]),
    data_mb=np.zeros(3),
    clip=np.full(3, -1, dtype=np.int32),
)
NAN = float("nan")


def test_waiting_and_fees_accrue_slot_by_slot() -> None:
    account = Account(TRACE, PROFILES)
    fee = PROFILES[0].beta * PROFILES[0].prices[1] * 10.0
    assert account.open(np.array([0, 1])).tolist() == [0, 1]
    costs = account.charge(np.array([1, 0]), np.array([NAN, 0.75]), 1.0)
    assert costs == pytest.approx([0.8 + fee, 0.25])
    assert account.open(np.array([2])).tolist() == [0, 2]
    costs = account.charge(np.array([1, 0]), np.array([1.5, NAN]), 2.0)
    assert costs == pytest.approx([0.5 + 0.5 + PROFILES[0].beta * 4.0, 0.0])


def test_what_is_learned_late_is_made_good() -> None:
    account = Account(TRACE, PROFILES)
    account.open(np.array([0]))
    first = account.charge(np.array([UNDECIDED]), np.array([NAN]), 1.0)
    assert first == pytest.approx([0.8, 0.0])
    account.open(np.zeros(0, dtype=np.int64))
    # The result of 0.7 s and the target were reported after the slot had ended.
    later = account.charge(np.array([0]), np.array([0.7]), 2.0)
    assert first[0] + later[0] == pytest.approx(0.5 + PROFILES[0].beta * 10.0)
