"""The controller's process: what it says, what it obeys, how it ends."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controller.openflow import LIBRARIES
from model.controller_messages import RateChanged, Start, Stop
from model.network import build_network
from tests.busy import measuring
from tests.controller.lab import Controller, ShapedLab
from tests.controller.scenarios import scenario

pytestmark = pytest.mark.root


@pytest.fixture
def lab() -> Iterator[ShapedLab]:
    lab = ShapedLab(build_network(scenario(stations=1, devices=1)))
    yield lab
    lab.close()


@pytest.fixture(params=LIBRARIES)
def controller(request: pytest.FixtureRequest, lab: ShapedLab, tmp_path: Path) -> Controller:
    wanted = scenario(stations=1, devices=1)
    controller = Controller(lab, wanted, tmp_path, str(request.param))
    controller.wait_for("listening")
    return controller


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_when_asked_by_a_signal(controller: Controller, number: int) -> None:
    assert controller.end(number) == 0, controller.log.read_text()
    assert "Traceback" not in controller.log.read_text()


def test_it_ends_in_order_when_told_to(controller: Controller) -> None:
    controller.send(Stop())
    assert controller.end() == 0


def test_it_ends_when_nobody_listens_any_more(controller: Controller) -> None:
    controller.close_socket()
    assert controller.end() == 0


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[]\n", b'{"type":"dance"}\n', b'{"type":"start","t0":"now"}\n']
)
def test_it_ends_with_a_traceback_when_a_command_makes_no_sense(
    controller: Controller, line: bytes
) -> None:
    controller.send_raw(line)
    assert controller.end() == 1
    assert "Traceback" in controller.log.read_text()


def test_two_controllers_do_not_share_an_address(
    controller: Controller, lab: ShapedLab, tmp_path: Path
) -> None:
    second = Controller(lab, scenario(stations=1, devices=1), tmp_path, "os-ken")
    assert second.end() == 1
    assert "Address already in use" in second.log.read_text()
    controller.stop()


@pytest.mark.timing
def test_it_looks_at_the_links_when_slots_end(controller: Controller) -> None:
    with measuring():
        t0 = time.monotonic() + 0.2
        controller.send(Start(t0=t0, slot_s=0.1, slots=5))
        controller.send(RateChanged(link="c1d1>bs1", rate_mbps=5))
        events = [controller.wait_for("links") for _ in range(5)]
    for slot, event in enumerate(events, 1):
        assert event["slot"] == slot
        lateness = event["sampled_at"] - (t0 + 0.1 * slot)
        assert 0 <= lateness < 0.08
        assert event["links"][0][1:] == [0, 0, 0, True]
    controller.send(Start(t0=t0, slot_s=0.1, slots=5))
    assert controller.end() == 1
    assert "started already" in controller.log.read_text()


def test_strangers_at_the_port_do_no_harm(controller: Controller, lab: ShapedLab) -> None:
    for words in (b"", b"A\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\x04\x00\x00\x02" * 9):
        with lab.inside(lambda: socket.create_connection(("127.0.0.1", 6653))) as stranger:
            stranger.sendall(words)
            stranger.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while stranger.recv(4096):
                    pass
    controller.send(Start(t0=time.monotonic(), slot_s=0.1, slots=1))
    controller.wait_for("links")
    controller.stop()
