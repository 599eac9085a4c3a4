"""A run that is under way, and a client of its API."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from controller.api.places import socket_path, token_path
from emulation.host.ledger import RUNS_DIR, living_runs
from model.errors import UserError

_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class RunningApi:
    """The API of a run."""

    run_id: str
    directory: Path

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return socket_path(self.directory)

    @property
    def token_file(self) -> Path:
        """The file with the token."""
        return token_path(self.directory)

    def client(self) -> httpx.Client:
        """A client that bears the token. Raises ``UserError`` if the API is not there yet."""
        try:
            token = self.token_file.read_text().strip()
        except OSError as error:
            raise UserError(
                f"run {self.run_id} has no API (it comes when all flows are installed): {error}"
            ) from error
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)),
            base_url="http://lab",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
        )


def find_run(run_id: str | None) -> RunningApi:
    """The run of that id, or the only one. Raises ``UserError`` if there is no such run."""
    if os.geteuid() != 0:
        raise UserError("a run's directory is root's: use sudo")
    living = living_runs()
    if run_id is None:
        if not living:
            raise UserError("no run is under way")
        if len(living) > 1:
            raise UserError(f"several runs are under way, name one: {', '.join(living)}")
        run_id = living[0]
    if run_id not in living:
        raise UserError(f"no run '{run_id}' is under way ({', '.join(living) or 'none is'})")
    return RunningApi(run_id, RUNS_DIR / run_id)
