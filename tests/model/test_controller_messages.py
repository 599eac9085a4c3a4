"""Messages of the controller: what is written is what is read; what is none is refused."""

from __future__ import annotations

import msgspec
import pytest

from model import controller_messages as messages

EVENTS: list[messages.Event] = [
    messages.Listening(),
    messages.SwitchChanged("bs1", up=True),
    messages.Installed(210),
    messages.CableChanged("bs1-bs2", up=False),
    messages.Rerouted(30, 0.004),
    messages.LinksSampled(1, 81.2, [("bs1>e1", 3, 900, 0, True)], [7]),
    messages.PortsSampled(1, 81.2, "bs1", [("e1", 1, 2, 3, 4, 5, 6)]),
    messages.QueuesSampled(81.3, [("bs1>e1", 3, 900)]),
]
COMMANDS: list[messages.Command] = [
    messages.Start(80.2, 1.0, 300, 10, 2),
    messages.RateChanged("bs1>bs2", 15.0),
    messages.UnitsReported(1, [("e1", 1.0, 3.0, 0.5)]),
    messages.Stop(),
]
OTHERS: list[messages.ApiMessage] = [
    messages.FlowsInstalled("bs1", connected=True, flows=[{"table": 0}]),
    messages.CablesDown(["bs1-bs2"]),
]


def test_every_message_is_read_as_it_was_written() -> None:
    assert {type(m) for m in [*EVENTS, *COMMANDS, *OTHERS]} == set(messages.ApiMessage.__args__)
    for event in EVENTS:
        assert messages.decode_event(messages.encode(event)) == event
    for command in COMMANDS:
        assert messages.decode_command(messages.encode(command)) == command
    for told in [*EVENTS, *COMMANDS, *OTHERS]:
        line = messages.encode(told)
        assert line.count(b"\n") == 1
        assert messages.decode_api_message(line) == told


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b'{"type": "dance"}', b'{"type": "stop"', b'{"type": "start", "t0": "now"}',
     b'{"type": "rate", "link": "a", "rate_mbps": NaN}'],
)  # fmt: skip
def test_what_is_no_command_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        messages.decode_command(line)


def test_a_log_gets_the_fields_by_name() -> None:
    rerouted = messages.Rerouted(30, 0.004)
    assert messages.tag_of(rerouted) == "rerouted"
    assert messages.fields_of(rerouted) == {"flows_changed": 30, "seconds": 0.004}
