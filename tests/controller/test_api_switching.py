"""The API beside a controller at work: what it shows is true, and abuse of it delays no packet."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from controller.api.places import socket_path, token_path
from model.addressing import host_ip
from model.controller_messages import Start, UnitsReported
from tests.controller.lab import Controller, SwitchedLab, sh
from tests.controller.scenarios import scenario

pytestmark = pytest.mark.ovs


@pytest.fixture(params=["ryu", "os-ken"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    wanted = scenario(stations=3, devices=1)
    lab = SwitchedLab(wanted, tmp_path)
    try:
        for link in lab.network.shaped_links:  # the uplinks' queues, which this network lacks
            if link.source in lab.hosts:
                name = f"{link.source}-{link.target}"
                sh("ip", "-n", lab.fabric, "link", "add", name, "up", "type", "veth")
        controller = Controller(lab, wanted, tmp_path, request.param, more=("--api", str(tmp_path)))
        controller.wait_for("installed")
        with _client(tmp_path) as client:
            yield lab, controller, client, socket_path(tmp_path)
        controller.stop()
        with pytest.raises(ConnectionRefusedError):
            _connect(socket_path(tmp_path))
    finally:
        lab.close()


def _client(folder: Path) -> httpx.Client:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError):
            _connect(socket_path(folder)).close()
            break
        time.sleep(0.05)
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(socket_path(folder))),
        base_url="http://lab",
        headers={"Authorization": f"Bearer {token_path(folder).read_text().strip()}"},
        timeout=15,
    )


def _connect(path: Path) -> socket.socket:
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.settimeout(1.0)
    try:
        stranger.connect(str(path))
    except OSError:
        stranger.close()
        raise
    return stranger


def _until(client: httpx.Client, condition: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 5
    while not condition(health := client.get("/health").json()):
        assert time.monotonic() < deadline, health
        time.sleep(0.05)
    return dict(health)


def test_it_shows_what_the_controller_does(running: Any) -> None:
    lab, controller, client, _ = running
    health = _until(client, lambda h: all(h["switches"].values()))
    installed = next(e for e in controller.events if e["type"] == "installed")
    assert len(client.get("/flows").json()["flows"]) == installed["flows"]
    to_e2 = [
        f["output"]
        for f in client.get("/flows?switch=bs1").json()["flows"]
        if f["match"].get("ipv4_dst") == "10.2.0.2"
    ]
    assert to_e2 == ["bs2"]
    assert health["cables_down"] == []

    lab.set_cable("bs1", "bs2", up=False)
    controller.wait_for("rerouted")
    _until(client, lambda h: h["cables_down"] == ["bs1-bs2"] and h["reroutes"])
    time.sleep(0.2)  # the flows follow
    outputs = [
        f["output"]
        for f in client.get("/flows?switch=bs1").json()["flows"]
        if f["match"].get("ipv4_dst") == "10.2.0.2"
    ]
    assert outputs == ["bs3"]

    controller.send(Start(t0=time.monotonic() + 0.1, slot_s=0.2, slots=3))
    told = controller.wait_for("links", slot=3)
    controller.send(UnitsReported(slot=3, units=[("e1", 6.0, 3.0, 0.5)]))
    _until(client, lambda h: h["slot"] == 2)
    links = {k["link"]: k for k in client.get("/links").json()["links"]}
    speedup = client.get("/health").json()["speedup"]
    for (name, backlog, _, _, up), virtual in zip(
        told["links"], told["virtual_backlog_bytes"], strict=True
    ):
        assert links[name]["backlog_bytes"] == backlog * speedup
        assert links[name]["virtual_backlog_bytes"] == virtual * speedup
        assert links[name]["up"] == up
    time.sleep(0.2)
    assert client.get("/units/e1").json()["load_s"] == 2.0


def _pour(path: Path, stop: threading.Event, seed: int) -> None:
    rng = random.Random(seed)
    while not stop.is_set():
        with suppress(OSError), _connect(path) as stranger:
            words = (b"GET /history?last=300 HTTP/1.1\r\n", rng.randbytes(3_000), b"\r\n\r\n")
            stranger.sendall(rng.choice(words) * 3)
            stranger.recv(100)
        stop.wait(0.005)  # the machine, which is small, must not be what is tested


def _lost(lab: SwitchedLab, source: str, target: str) -> int:
    """Of 200 pings, how many are not answered."""
    address = host_ip(lab.network, lab.network.nodes[target])
    inside = ("nsenter", f"--net=/run/netns/{lab.hosts[source]}", "--")
    said = sh(*inside, "ping", "-q", "-c200", "-i0.01", "-W1", address)
    found = re.search(r"(\d+) received", said)
    assert found, said
    return 200 - int(found[1])


def test_garbage_delays_no_packet_and_no_reroute(running: Any) -> None:
    lab, controller, client, path = running
    stop = threading.Event()
    pourers = [threading.Thread(target=_pour, args=(path, stop, k)) for k in range(4)]
    for thread in pourers:
        thread.start()
    try:
        assert _lost(lab, "c1d1", "e2") == 0
        for up, wanted in ((False, "link"), (True, "link")):
            lab.set_cable("bs1", "bs2", up=up)
            controller.wait_for(wanted, cable="bs1-bs2", up=up)
            assert controller.wait_for("rerouted")["seconds"] < 0.5
        assert client.get("/health").status_code == 200
    finally:
        stop.set()
        for thread in pourers:
            thread.join()


def test_the_run_goes_on_without_its_api(running: Any) -> None:
    lab, controller, client, _ = running
    (api,) = psutil.Process(controller.process.pid).children()
    api.kill()
    with suppress(httpx.HTTPError):
        client.get("/health")
    controller.send(Start(t0=time.monotonic(), slot_s=0.1, slots=4))
    controller.wait_for("links", slot=4)
    assert lab.ping("c1d1", "e1")
    assert "the run goes on" in controller.log.read_text()
