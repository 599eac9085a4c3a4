"""A user's own policy in the simulator when root simulates: in a process that has given root up.

Root reads the source files of the user's folder and runs none of them. A child process imports the
policy after it has dropped every privilege and the network. What comes back is numbers: slots,
Arrow tables and JSON, all checked. Without root the user's code runs as its user, in this process.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

import pyarrow as pa

from emulation import kernel, privileges, seccomp
from emulation.guest.sources import Sources
from emulation.identities import first_uid
from emulation.policy_files import look_here_too, user_folder
from emulation.walls import ProcessWall
from model.errors import UserError
from model.scenario import Scenario
from model.text import safe_line
from records.schema import TABLES
from rl import policies
from rl.policies.checking import PolicyError
from rl.policies.learned import Learned

_PROJECT = Path(__file__).resolve().parent.parent
_HEADER = struct.Struct("!BQ")
_SLOT, _TABLE, _JSON, _ERROR, _POLICY, _BROKE = range(6)
_MOST_BYTES = 1 << 32
_TRACE_LINES = 40

Send = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Description:
    """What must be known of a policy before it runs: ``needs``, its parameters' names, its kind."""

    needs: str
    parameters: tuple[str, ...]
    learned: bool


def guest_file(policy: str) -> Path | None:
    """The file of a user's own policy that root must not import; None if it is not such a one."""
    module, colon, _ = policy.partition(":")
    folder = user_folder()
    top = module.split(".")[0]
    if os.geteuid() != 0 or not colon or not folder or (_PROJECT / top / "__init__.py").is_file():
        return None
    relative = folder.joinpath(*module.split("."))
    places = (relative.with_suffix(".py"), relative / "__init__.py")
    return next((path.resolve() for path in places if path.is_file()), None)


@cache
def described(policy: str) -> Description:
    """The facts of a policy. Raises ``UserError`` if there is no such policy."""
    if guest_file(policy) is None:
        return _described(policy)
    return _description(_answer(policy, lambda send: _say(send, _facts(_described(policy)))))


def completed(
    policy: str, params: Mapping[str, policies.Value], scenario: Scenario
) -> dict[str, policies.Value]:
    """The parameters as ``rl.policies.completed``, and checked for a policy of one's own.

    Raises ``UserError`` if the policy or a parameter does not exist.
    """
    if guest_file(policy) is None:
        return policies.completed(policy, params, scenario)

    def work(send: Send) -> None:
        found = policies.completed(policy, params, scenario)
        policies.create(policy, found)
        _say(send, found)

    found = _answer(policy, work)
    if not isinstance(found, dict) or not all(
        type(v) in (bool, int, float, str) for v in found.values()
    ):
        raise UserError(f"policy '{policy}' has parameters that are no plain values")
    return found


def tables_of(
    policy: str,
    simulate: Callable[[Callable[[int], None]], Mapping[str, pa.Table]],
    on_slot: Callable[[int], None] | None = None,
) -> dict[str, pa.Table]:
    """The tables that ``simulate(on_slot)`` makes, which runs the policy in a guest process.

    Raises ``UserError`` for what the guest raised as such, ``PolicyError`` for what the policy did,
    and ``RuntimeError`` for the rest.
    """

    def work(send: Send) -> None:
        made = simulate(lambda slot: send(_SLOT, b"%d" % slot))
        for name, table in made.items():
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            send(_TABLE, name.encode() + b"\0" + sink.getvalue().to_pybytes())

    found: dict[str, pa.Table] = {}
    for kind, payload in _messages(policy, work):
        if kind == _SLOT and on_slot and payload.isdigit() and len(payload) < 10:
            on_slot(int(payload))
        elif kind == _TABLE:
            name, _, data = payload.partition(b"\0")
            found[name.decode(errors="replace")] = _table(name.decode(errors="replace"), data)
    if not found:
        raise UserError(f"policy '{policy}' has ended its simulation early")
    return found


def _table(name: str, data: bytes) -> pa.Table:
    try:
        table = pa.ipc.open_stream(data).read_all()
        table.validate(full=True)
    except pa.ArrowException as error:
        raise UserError(f"a simulation has made a damaged table {safe_line(name)}") from error
    if name not in TABLES or not set(table.column_names) <= set(TABLES[name].names):
        raise UserError(f"a simulation has made an unknown table {safe_line(name)}")
    return table


def _described(policy: str) -> Description:
    kind = policies.policy_class(policy)
    return Description(str(kind.needs), tuple(policies.parameters(kind)), issubclass(kind, Learned))


def _facts(found: Description) -> list[Any]:
    return [found.needs, found.parameters, found.learned]


def _description(value: Any) -> Description:
    match value:
        case [("observation" | "state" | "truth") as needs, [*names], bool(learned)]:
            return Description(needs, tuple(safe_line(str(n)) for n in names), learned)
    raise UserError("the policy does not say what it needs: observation, state or truth")


def _say(send: Send, value: object) -> None:
    send(_JSON, json.dumps(value).encode())


def _answer(policy: str, work: Callable[[Send], None]) -> Any:
    for kind, payload in _messages(policy, work):
        if kind == _JSON:
            return json.loads(payload)
    raise UserError(f"policy '{policy}' has ended the process that was to import it")


def _messages(policy: str, work: Callable[[Send], None]) -> Iterator[tuple[int, bytes]]:
    """What ``work`` sends from a guest process, which ends with the iteration."""
    folder = user_folder()
    sources = Sources(folder, policy) if folder else None
    ours, theirs = socket.socketpair()
    parent = os.pidfd_open(os.getpid())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with ours, theirs:
        pid = _fork()
        if pid == 0:
            _be_guest(theirs, parent, folder, sources, work)
        os.close(parent)
        theirs.close()
        try:
            with ours.makefile("rb") as pipe:
                yield from _received(policy, pipe)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _fork() -> int:
    """Fork, into a PID namespace of its own where there are any: what it starts ends with it."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(ProcessWall())
        return os.fork()


def _received(policy: str, pipe: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    while len(header := pipe.read(_HEADER.size)) == _HEADER.size:
        kind, size = _HEADER.unpack(header)
        if size > _MOST_BYTES:
            raise UserError(f"policy '{policy}' sends {size} bytes instead of results")
        payload = pipe.read(size)
        if len(payload) < size:
            return
        if kind == _ERROR:
            raise UserError(safe_line(payload.decode(errors="replace")))
        if kind == _POLICY:
            raise _of_policy(payload.decode(errors="replace"))
        if kind == _BROKE:
            first, _, trace = payload.decode(errors="replace").partition("\n")
            error = RuntimeError(safe_line(first))
            error.add_note("\n".join(map(safe_line, trace.splitlines()[-_TRACE_LINES:])))
            raise error
        yield kind, payload


def _of_policy(text: str) -> PolicyError:
    first, _, trace = text.partition("\n")
    error = PolicyError(safe_line(first))
    error.trace = "\n".join(map(safe_line, trace.splitlines()[-_TRACE_LINES:]))
    return error


def _be_guest(
    pipe: socket.socket,
    parent: int,
    folder: Path | None,
    sources: Sources | None,
    work: Callable[[Send], None],
) -> NoReturn:
    def send(kind: int, payload: bytes) -> None:
        pipe.sendall(_HEADER.pack(kind, len(payload)) + payload)

    try:
        _drop(pipe.fileno(), parent, folder)
        if sources is not None:
            sys.meta_path.append(sources)
        look_here_too(folder)
        work(send)
    except PolicyError as error:
        text = f"{' '.join(str(error).split())}\n{error.trace}"
        send(_POLICY, text.encode(errors="replace"))
    except UserError as error:
        send(_ERROR, str(error).encode(errors="replace"))
    except BaseException as error:  # noqa: BLE001 - goes to the parent, whose code must not run on
        text = f"{type(error).__name__}: {error}".replace("\n", " ")
        send(_BROKE, f"{text}\n{traceback.format_exc()}".encode(errors="replace"))
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(0)


def _drop(pipe: int, parent: int, folder: Path | None) -> None:
    """Give up root, the network and every descriptor that is not needed, for good."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    last_capability = privileges.last_capability()
    with suppress(OSError):
        kernel.unshare(kernel.NEW_NET | kernel.NEW_IPC)
    first, second = sorted((pipe, parent))
    os.closerange(3, first)
    os.closerange(first + 1, second)
    os.closerange(second + 1, 65536)
    uid = first_uid(secrets.token_hex(2))
    privileges.drop(uid, uid, parent, last_capability, None)
    with suppress(OSError):
        seccomp.install()
    if folder is not None:
        with suppress(OSError):  # a folder of root's alone: its sources have been read
            os.chdir(folder)
