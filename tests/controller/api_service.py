"""The API's process without a controller: the test is what feeds it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from controller.api.places import socket_path, token_path
from model.controller_messages import ApiMessage, LinksSampled, UnitsReported, encode
from model.network import build_network
from model.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]


def slot_messages(wanted: Scenario, slot: int) -> tuple[LinksSampled, UnitsReported]:
    """What the controller passes on of one slot: every link has sent 1000 bytes and lost one."""
    network = build_network(wanted)
    boundary = slot + 1  # as the controller counts them
    links = [(k.name, 100, 1_000 * boundary, boundary, True) for k in network.shaped_links]
    units = [(u.name, 6.0, 2.0, 0.5) for u in network.units]
    sampled = LinksSampled(boundary, time.monotonic(), links, [70] * len(links))
    return sampled, UnitsReported(boundary, units)


class Service:
    """A running API process; ``client`` bears its token."""

    def __init__(self, wanted: Scenario, folder: Path):
        self.scenario = wanted
        resolved = folder / "resolved.json"
        resolved.write_text(wanted.model_dump_json())
        words = ["--scenario", str(resolved), "--directory", str(folder)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "controller.api.serve", *words],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        self.path = socket_path(folder)
        self._wait_until_it_listens()
        self.token = token_path(folder).read_text().strip()
        self.client = self.make_client()

    def _wait_until_it_listens(self) -> None:
        for _ in range(1_000):
            try:
                self.connect().close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("the API does not listen")

    def make_client(self, token: str | None = None) -> httpx.Client:
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.path)),
            base_url="http://lab",
            headers={"Authorization": f"Bearer {token or self.token}"},
            timeout=15,
        )

    def connect(self) -> socket.socket:
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stranger.settimeout(20)
        stranger.connect(str(self.path))
        return stranger

    def say(self, *messages: ApiMessage) -> None:
        self.say_raw(*map(encode, messages))

    def say_raw(self, *lines: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def say_slot(self, slot: int) -> None:
        """Feed a slot and wait until it is known."""
        self.say(*slot_messages(self.scenario, slot))
        for _ in range(500):
            if self.client.get("/units").json()["slot"] == slot:
                return
            time.sleep(0.01)
        raise AssertionError(f"slot {slot} does not arrive")

    def end(self) -> tuple[int, str]:
        """Close its standard input; its status and what it said."""
        self.client.close()
        _, said = self.process.communicate(timeout=10)
        return self.process.returncode, said.decode()
