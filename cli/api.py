"""Show where the API of a running experiment is, and how to ask it."""

from __future__ import annotations

import shlex

import click

from cli.api_client import find_run
from records.streams import say


@click.command()
@click.argument("run", required=False)
def api(run: str | None) -> None:
    """Show where the API of a running experiment is, and how to ask it.

    RUN is the id that the run's directory in /run/crowd-edge-lab carries; it may be left out while
    there is only one. docs/api.md and docs/openapi.json say what can be asked.
    """
    found = find_run(run)
    found.client().close()  # says so if the API is not there yet
    socket, token = shlex.quote(str(found.socket)), shlex.quote(str(found.token_file))
    say(f"run     {found.run_id}")
    say(f"socket  {found.socket}")
    say(f"token   {found.token_file}")
    bearer = f'-H "Authorization: Bearer $(cat {token})"'
    say(f"curl --unix-socket {socket} {bearer} http://lab/links")
