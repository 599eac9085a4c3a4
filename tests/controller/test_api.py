"""What the API answers, in the process of the test: numbers, refusals, metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.api.app import create_app
from controller.api.store import HISTORY_SLOTS, MAX_STREAMS, Store, TooManyStreams
from model import controller_messages as messages
from tests.controller.api_service import slot_messages
from tests.controller.scenarios import scenario

TOKEN = "a-token"  # noqa: S105 - of a test
WANTED = scenario(stations=2, devices=1)
FLOW = {
    "table": 1,
    "priority": 100,
    "match": {"eth_type": 2048, "ipv4_dst": "10.1.1.1"},
    "rewrite": {},
    "output": "bs1",
    "goto": None,
    "to_controller": False,
}


@pytest.fixture
def store() -> Store:
    store = Store(WANTED)
    store.fold(messages.Start(5.0, WANTED.slot_s / 4, 5))
    return store


def _feed(store: Store, *slots: int) -> None:
    for slot in slots:
        for message in slot_messages(WANTED, slot):
            store.fold(message)


def ask(store: Store, path: str, token: str | None = TOKEN, method: str = "GET") -> httpx.Response:
    """One request to the application, without a server."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(store, TOKEN))
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://lab", headers=headers
        ) as client:
            return await client.request(method, path)

    return asyncio.run(request())


def get(store: Store, path: str) -> Any:
    response = ask(store, path)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_link_is_told_in_scenario_quantities(store: Store) -> None:
    # At speed-up 4 a real byte stands for four.
    _feed(store, 1, 2)
    link = get(store, "/links/c1d1%3Ebs1")
    bytes_per_s = link["rate_mbps"] * 1e6 / 8
    assert link["backlog_bytes"] == 400
    assert link["virtual_backlog_bytes"] == 280
    assert link["sent_bytes"] == 4_000
    assert link["drops"] == 1
    assert link["load_s"] == pytest.approx(400 / bytes_per_s)
    assert link["utilisation"] == pytest.approx(4_000 / (bytes_per_s * WANTED.slot_s))
    assert get(store, "/links")["slot"] == 2
    assert link in get(store, "/links")["links"]


def test_a_capacity_that_changes_is_the_new_one_from_then_on(store: Store) -> None:
    _feed(store, 0)
    before = get(store, "/links/c1d1%3Ebs1")
    store.fold(messages.RateChanged("c1d1>bs1", before["rate_mbps"] / 2))
    _feed(store, 1)
    after = get(store, "/links/c1d1%3Ebs1")
    assert after["load_s"] == pytest.approx(2 * before["load_s"])
    assert after["utilisation"] == pytest.approx(2 * before["utilisation"])


def test_units_and_history(store: Store) -> None:
    _feed(store, 1, 2, 3)
    assert get(store, "/units/e1") == {
        "unit": "e1",
        "kind": "edge",
        "queue_ghz_s": 6.0,
        "ghz": 2.0,
        "load_s": 3.0,
        "busy_share": 0.5,
    }
    slots = get(store, "/history?last=2&unit=e1")["slots"]
    assert [s["slot"] for s in slots] == [2, 3]
    assert all(len(s["units"]) == 1 and not s["links"] for s in slots)
    both = get(store, "/history?last=1")["slots"][0]
    assert both["links"] == get(store, "/links")["links"]
    assert both["units"] == get(store, "/units")["units"]


def test_units_without_links_or_without_capacity(store: Store) -> None:
    store.fold(messages.UnitsReported(1, [("e1", 1.0, 2.0, 0.5)]))
    assert get(store, "/units") == {"slot": None, "units": []}
    links, _ = slot_messages(WANTED, 0)
    store.fold(links)
    store.fold(messages.UnitsReported(1, [("e1", 1.0, 0.0, 0.0)]))
    assert get(store, "/units/e1")["load_s"] is None


def test_history_is_bounded(store: Store) -> None:
    _feed(store, *range(1, HISTORY_SLOTS + 6))
    slots = get(store, f"/history?last={HISTORY_SLOTS}&link=c1d1%3Ebs1")["slots"]
    assert [s["slot"] for s in slots] == list(range(6, HISTORY_SLOTS + 6))


def test_health_flows_and_topology(store: Store) -> None:
    assert get(store, "/health")["status"] == "waiting"
    assert "crowd_edge_slot " not in ask(store, "/metrics").text
    store.fold(messages.FlowsInstalled("bs1", connected=True, flows=[FLOW]))
    store.fold(messages.CablesDown(["bs1-bs2"]))
    store.fold(messages.CableChanged("bs1-e1", up=False))
    store.fold(messages.CableChanged("bs1-bs2", up=True))
    store.fold(messages.Rerouted(3, 0.1))
    _feed(store, 1)
    health = get(store, "/health")
    assert (health["status"], health["slot"], health["speedup"]) == ("running", 1, 4)
    assert health["switches"] == {"bs1": True, "bs2": False}
    assert (health["cables_down"], health["reroutes"]) == (["bs1-e1"], 1)
    assert get(store, "/flows")["flows"] == [{"switch": "bs1", **FLOW}]
    assert get(store, "/flows?switch=bs2")["flows"] == []
    store.fold(messages.SwitchChanged("bs1", up=False))
    assert get(store, "/flows")["flows"] == []
    topology = get(store, "/topology")
    assert {n["name"] for n in topology["nodes"]} == set(store.network.nodes)
    assert {k["name"] for k in topology["links"]} == set(store.network.links)
    _feed(store, WANTED.slots)
    assert get(store, "/health")["status"] == "ended"


@pytest.mark.parametrize("path", ["/health", "/links", "/metrics", "/stream", "/history?last=x"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x"])
def test_nothing_without_the_token(store: Store, path: str, token: str | None) -> None:
    response = ask(store, path, token)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/links/nowhere", 404, "no link 'nowhere'"),
        ("/units/e9", 404, "no unit 'e9'"),
        ("/flows?switch=e1", 404, "no switch 'e1'"),
        ("/history?last=0", 422, "greater than or equal to 1"),
        ("/history?last=301", 422, "less than or equal to 300"),
        ("/history?link=", 422, "at least 1 character"),
        ("/flows?switch=" + 101 * "x", 422, "at most 100 characters"),
        ("/history?lsat=3", 400, "no parameter 'lsat'"),
        ("/links?last=3", 400, "no parameter 'last'"),
        ("/nothing", 404, "Not Found"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(
    store: Store, path: str, status: int, why: str
) -> None:
    _feed(store, 1)
    response = ask(store, path)
    assert response.status_code == status
    assert why in response.text


def test_what_is_not_there_yet_says_so(store: Store) -> None:
    assert get(store, "/links") == {"slot": None, "links": []}
    assert "yet" in ask(store, "/links/c1d1%3Ebs1").json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_only_reads(store: Store, method: str) -> None:
    assert ask(store, "/links", method=method).status_code == 405


def test_metrics_are_prometheus_metrics(store: Store) -> None:
    _feed(store, 1, 2)
    families = {f.name: f for f in text_string_to_metric_families(ask(store, "/metrics").text)}
    assert families["crowd_edge_slot"].samples[0].value == 2
    backlog = {s.labels["link"]: s.value for s in families["crowd_edge_link_backlog_bytes"].samples}
    assert backlog == dict.fromkeys((k.name for k in store.network.shaped_links), 400)
    drops = families["crowd_edge_link_drops"]
    assert drops.type == "counter"
    assert {s.value for s in drops.samples} == {3}
    queues = families["crowd_edge_unit_queue_ghz_s"].samples
    assert len(queues) == len(store.network.units)


def test_a_client_that_does_not_read_is_dropped(store: Store) -> None:
    slow, reading = store.subscribe(), store.subscribe()
    told = 0
    for slot in range(1, 20):
        _feed(store, slot)
        while not reading.empty():
            assert reading.get_nowait() is not None
            told += 1
    assert told == 38
    assert slow.get_nowait() is None
    assert slow.empty()
    assert store.health().streams == 1


def test_streams_are_bounded(store: Store) -> None:
    streams = [store.subscribe() for _ in range(MAX_STREAMS)]
    with pytest.raises(TooManyStreams):
        store.subscribe()
    assert ask(store, "/stream").status_code == 503
    store.unsubscribe(streams[0])
    store.unsubscribe(streams[0])
    store.subscribe()
