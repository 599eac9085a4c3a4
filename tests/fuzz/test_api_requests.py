"""Requests to the operator's API: methods, paths, headers, tokens and lengths of every kind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from controller.api.serve import MAX_BODY_BYTES, MAX_HEADER_BYTES
from model.controller_messages import Start
from tests.controller.api_service import Service
from tests.controller.scenarios import scenario
from tests.fuzz.bounds import tries

WANTED = scenario(stations=2, devices=1)
MOST_GROWTH_BYTES = 50 * 10**6
REFUSALS = {b"400", b"401", b"404", b"405", b"422"}
TOKEN = b"{token}"
"""Stands for the run's token, which differs from process to process."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(WANTED, tmp_path_factory.mktemp("api"))
    service.say(Start(0.0, WANTED.slot_s, 5))
    service.say_slot(1)
    before = psutil.Process(service.process.pid).memory_info().rss
    yield service
    assert psutil.Process(service.process.pid).memory_info().rss - before < MOST_GROWTH_BYTES
    assert service.end() == (0, ""), "it has written an error"


def ask(service: Service, data: bytes) -> bytes:
    """All that is answered to some bytes, after which nothing more is sent."""
    answer = b""
    with service.connect() as stranger:
        with suppress(ConnectionError):
            stranger.sendall(data)
            stranger.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while more := stranger.recv(65536):
                answer += more
    return answer


METHODS = st.sampled_from(
    [b"GET", b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"get"]
)
PLACES = st.sampled_from(
    [b"/health", b"/topology", b"/flows", b"/links", b"/links/c1d1%3Ebs1", b"/units/e1", b"/units",
     b"/history", b"/metrics", b"/", b"*", b"http://other/links", b"/..%2f..%2fetc/passwd",
     b"//links", b"/links/", b"/links/%", b"/links/%ff", b"/links/%00", b"/docs", b"/openapi.json"]
) | st.binary(max_size=30)  # fmt: skip
QUERIES = st.sampled_from(
    [b"", b"?last=1", b"?last=" + b"9" * 5_000, b"?last=1&last=2", b"?link=%ff", b"?unit=",
     b"?switch=bs1", b"?a[]=1", b"?%ff=1", b"?" + b"&" * 3_000, b"?last=1e3", b"?last=-1"]
)  # fmt: skip
TOKENS = st.sampled_from(
    [b"Bearer " + TOKEN, b"Bearer " + TOKEN, b"bearer " + TOKEN, b"Bearer  " + TOKEN + b" x",
     b"Bearer", b"Basic " + TOKEN, TOKEN, b"Bearer \xe9\xff", b"Bearer " + b"x" * 10_000]
)  # fmt: skip
HEADERS = st.sampled_from(
    [b"Host: a", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999",
     b"Transfer-Encoding: chunked", b"Connection: keep-alive", b"Upgrade: websocket",
     b"Expect: 100-continue", b"X: " + b"y" * 20_000, b" folded", b"No colon", b": empty",
     b"Host: b", b"Range: bytes=0-1", b"A\0B: c"]
) | st.binary(max_size=20)  # fmt: skip
BODIES = st.sampled_from(
    [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"x" * 100_000,
     b"GET /links HTTP/1.1\r\nHost: a\r\n\r\n"]
)  # fmt: skip


PARTS = ["method", "place", "query", "version", "headers", "tokens", "body"]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is right but for a part or two."""
    odd = draw(st.sets(st.sampled_from(PARTS), max_size=2))
    method = draw(METHODS) if "method" in odd else b"GET"
    place = draw(PLACES) if "place" in odd else draw(st.sampled_from([b"/links", b"/history"]))
    query = draw(QUERIES) if "query" in odd else b""
    version = draw(st.sampled_from([b"HTTP/1.0", b"HTTP/2.0", b"", b"X"]))
    line = b" ".join([method, place + query, version if "version" in odd else b"HTTP/1.1"])
    headers = [b"Host: lab", *(draw(st.lists(HEADERS, max_size=3)) if "headers" in odd else [])]
    tokens = draw(st.lists(TOKENS, max_size=2)) if "tokens" in odd else [b"Bearer " + TOKEN]
    headers += [b"Authorization: " + token for token in tokens]
    return b"\r\n".join([line, *headers, b"", draw(BODIES) if "body" in odd else b""])


@tries(250)
@given(requests())
def test_every_request_has_an_answer_or_an_end(service: Service, request_: bytes) -> None:
    answer = ask(service, request_.replace(TOKEN, service.token.encode()))
    status = answer.split(b"\r\n")[0].split()[1] if answer else b"closed"
    event(f"status {status.decode()}")
    if status == b"200":
        assert TOKEN in request_, "answered without the token"
    else:
        assert status in REFUSALS | {b"100", b"closed"}, answer
        assert service.token.encode() not in answer
    assert service.client.get("/health").status_code == 200


@pytest.mark.parametrize("size", [MAX_HEADER_BYTES, MAX_HEADER_BYTES + MAX_BODY_BYTES, 10**7])
def test_lines_without_an_end(service: Service, size: int) -> None:
    assert len(ask(service, b"GET /" + b"a" * size)) < 1_000
    assert len(ask(service, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (size // 6))) < 1_000
    assert service.client.get("/health").status_code == 200
