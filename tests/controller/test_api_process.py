"""The API's process: what it bounds, what garbage does to it, how it ends."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from controller.api.places import token_path
from controller.api.serve import MAX_CONNECTIONS, REQUEST_TIMEOUT_S
from model.controller_messages import Start
from tests.busy import measuring
from tests.controller.api_service import ROOT, Service
from tests.controller.scenarios import scenario

WANTED = scenario(stations=2, devices=1)
DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(WANTED, tmp_path_factory.mktemp("api"))
    service.say(Start(0.0, WANTED.slot_s, 5))
    service.say_slot(1)
    yield service
    assert service.end() == (0, "")


def _healthy(service: Service) -> None:
    assert service.client.get("/health").json()["scenario"] == WANTED.name


def test_only_the_owner_can_open_it(service: Service) -> None:
    for path in (service.path, token_path(service.path.parent)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert service.make_client("wrong").get("/health").status_code == 401


def test_a_client_made_from_the_document_reads_everything(service: Service) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    named = {"link": "c1d1>bs1", "unit": "c1d1"}
    seen = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path == "/stream":
            continue
        values = {k: quote(v, safe="") for k, v in named.items() if f"{{{k}}}" in operation.path}
        answer = service.client.request(operation.method, operation.path.format(**values))
        assert answer.status_code == 200, answer.text
        if answer.headers["content-type"] == "application/json":
            operation.validate_response(answer)
        seen.add(operation.path)
    assert seen == set(DOCUMENT["paths"]) - {"/stream"}


def _next_event(lines: Iterator[str]) -> tuple[str, int, Any]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line and fields:
            return fields["event"], int(fields["id"]), json.loads(fields["data"])
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
    raise AssertionError("the stream has ended")


def test_a_stream_tells_slots_as_they_end(service: Service) -> None:
    with service.client.stream("GET", "/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(":")
        for slot in (2, 3):
            service.say_slot(slot)
            for kind in ("links", "units"):
                event, number, data = _next_event(lines)
                assert (event, number) == (kind, slot)
                assert data == service.client.get(f"/{kind}").json()
        assert service.client.get("/health").json()["streams"] == 1
    _until_streams(service, 0)


def _until_streams(service: Service, wanted: int, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while (streams := service.client.get("/health").json()["streams"]) != wanted:
        assert time.monotonic() < deadline, streams
        time.sleep(0.05)


def _request(service: Service, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: lab\r\nAuthorization: Bearer {service.token}\r\n".encode()


def test_a_stream_that_is_not_read_is_dropped(service: Service) -> None:
    with service.connect() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.sendall(_request(service, "/stream") + b"\r\n")
        _until_streams(service, 1)
        for slot in range(10, 400):
            service.say_slot(slot)
            if service.client.get("/health").json()["streams"] == 0:
                break
        _until_streams(service, 0)
        assert slot > 20
        time.sleep(11)  # ... and its connection after it
        received = 0
        with suppress(ConnectionResetError):
            while data := slow.recv(1 << 16):
                received += len(data)
        assert received > 10_000


def _answer(service: Service, data: bytes) -> bytes:
    """Everything that comes back for some bytes."""
    answer = b""
    with service.connect() as stranger, suppress(BrokenPipeError, ConnectionResetError):
        stranger.sendall(data)
        stranger.shutdown(socket.SHUT_WR)
        while more := stranger.recv(1 << 16):
            answer += more
    return answer


_WORDS = st.sampled_from(
    [b"GET ", b"/links", b"/stream", b" HTTP/1.1\r\n", b"\r\n", b"Host: a\r\n", b"%", b"\xff",
     b"Authorization: Bearer \xe9\r\n", b"Content-Length: 9\r\n", b"Upgrade: websocket\r\n",
     b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"]
)  # fmt: skip


@given(st.binary(max_size=2_000) | st.lists(_WORDS, max_size=12).map(b"".join))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_garbage_is_refused_and_does_no_harm(service: Service, data: bytes) -> None:
    answer = _answer(service, data)
    # 400 for what is no request; 401, 404, 405 for what happens to be one.
    assert answer == b"" or answer.split(b"\r\n")[0].split()[1] in (b"400", b"401", b"404", b"405")
    _healthy(service)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n" + bytes(2_000_000),
    ],
)
def test_requests_that_are_too_long_are_cut_short(service: Service, data: bytes) -> None:
    answer = _answer(service, data)
    assert len(answer) < 1_000
    _healthy(service)


def test_an_unfinished_request_is_given_up(service: Service) -> None:
    with service.connect() as silent, service.connect() as slow:
        begin = time.monotonic()
        slow.sendall(_request(service, "/links"))
        assert silent.recv(1) == b""
        with suppress(ConnectionResetError):
            assert slow.recv(1) == b""
        assert REQUEST_TIMEOUT_S - 0.5 < time.monotonic() - begin < REQUEST_TIMEOUT_S + 5
    _healthy(service)


def test_too_many_connections_are_dropped_at_once(service: Service) -> None:
    crowd = [service.connect() for _ in range(MAX_CONNECTIONS)]
    time.sleep(0.2)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        service.client.get("/health")
    for one in crowd:
        one.close()
    time.sleep(0.2)
    _healthy(service)


@pytest.mark.timing
def test_it_ends_with_its_feed_even_while_a_stream_is_open(tmp_path: Path) -> None:
    service = Service(WANTED, tmp_path)
    with service.connect() as reader:
        reader.sendall(_request(service, "/stream") + b"\r\n")
        assert reader.recv(100)
        with measuring():
            begin = time.monotonic()
            assert service.end()[0] == 0
            assert time.monotonic() - begin < 2


def test_a_feed_that_makes_no_sense_is_an_error(tmp_path: Path) -> None:
    service = Service(WANTED, tmp_path)
    service.say_raw(b'{"type": "links", "slot": 1, "sampled_at": 1.0, "links": [[1]]}\n')
    status, said = service.end()
    assert status == 1
    assert "ValidationError: Expected `str`, got `int`" in said


def test_it_gives_way_to_the_experiment(service: Service) -> None:
    assert os.getpriority(os.PRIO_PROCESS, service.process.pid) >= 10
