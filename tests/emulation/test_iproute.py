"""A failing line of a batch is named."""

from __future__ import annotations

import pytest

from emulation.host.commands import CommandError, run
from emulation.host.iproute import Batch


def test_an_empty_batch_runs_nothing() -> None:
    Batch("ip", "no-such-namespace").run()


@pytest.mark.root
def test_the_line_that_failed_is_named() -> None:
    batch = Batch("ip")
    batch.add("link show lo")
    batch.add("link show nosuchif0")
    with pytest.raises(CommandError, match=r"ip link show nosuchif0.*does not exist") as caught:
        batch.run()
    assert caught.value.status != 0


def test_a_program_that_is_not_installed_is_said_so() -> None:
    with pytest.raises(CommandError, match="not installed"):
        run(["no-such-program-here"])


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(CommandError, match="no end within"):
        run(["sleep", "5"], timeout_s=0.05)
