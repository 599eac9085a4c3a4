"""Who may speak to the OpenFlow library: what introduces itself as a switch does, and nobody else.

Anybody may knock at the controller's port, and the libraries cannot stand what anybody may say: a
hello whose element has the length 0 keeps Ryu 4.34 busy for ever, and of malformed messages both
log an error, which ends the run. So the messages of an introduction are looked at here first; a
connection that has introduced itself says what it likes.
"""

from __future__ import annotations

import struct
from typing import Any

from model.errors import ProtocolError

_HEADER = struct.Struct("!BBHI")
_VERSION = 4  # OpenFlow 1.3
_HELLO, _ECHO_REQUEST, _ECHO_REPLY, _FEATURES_REPLY, _MULTIPART_REPLY = 0, 2, 3, 6, 19
_PORT_DESCRIPTION, _REPLY_MORE, _VERSION_BITMAP = 13, 1, 1
_FEATURES_BYTES, _MULTIPART_BYTES, _PORT_BYTES = 32, 16, 64
_MOST_BYTES = 65535
_LIMITS = {
    _HELLO: (_HEADER.size, 256),
    _ECHO_REQUEST: (_HEADER.size, 256),
    _ECHO_REPLY: (_HEADER.size, 256),
    _FEATURES_REPLY: (_FEATURES_BYTES, _FEATURES_BYTES),
    _MULTIPART_REPLY: (_MULTIPART_BYTES, _MOST_BYTES),
}
"""Messages of an introduction → how short and how long they may be, bytes."""


class HandshakeError(ProtocolError):
    """A connection says what no switch of OpenFlow 1.3 says when it introduces itself."""


class Screen:
    """A connection's socket, as the library reads it: whole, sound messages until it is a switch.

    Everything but ``recv`` is the socket's own.
    """

    def __init__(self, handle: Any):
        self._handle = handle
        self._held = b""
        self._introduced = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def recv(self, count: int) -> bytes:
        """The next bytes, or ``b""`` at the end.

        Raises ``HandshakeError``, and what the socket's own raises.
        """
        while not self._introduced:
            if message := self._message():
                return message
            data = self._handle.recv(_MOST_BYTES)
            if not data:
                return b""
            self._held += data
        if self._held:
            held, self._held = self._held, b""
            return held
        return bytes(self._handle.recv(count))

    def _message(self) -> bytes:
        """The first whole message of what is held, ``b""`` if there is none yet."""
        if len(self._held) < _HEADER.size:
            return b""
        length = checked_length(self._held)
        if len(self._held) < length:
            return b""
        message, self._held = self._held[:length], self._held[length:]
        self._introduced = introduces(message)
        return message


def checked_length(data: bytes) -> int:
    """The length of the message that begins here. Raises ``HandshakeError`` for its header."""
    version, kind, length, _ = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise HandshakeError(f"version {version} of OpenFlow, if it is OpenFlow")
    if kind not in _LIMITS:
        raise HandshakeError(f"a message of type {kind} before it has introduced itself")
    least, most = _LIMITS[kind]
    if not least <= length <= most:
        raise HandshakeError(f"a message of type {kind} and {length} bytes")
    return int(length)


def introduces(message: bytes) -> bool:
    """Whether a message completes an introduction. Raises ``HandshakeError`` for its content."""
    kind = message[1]
    if kind == _HELLO:
        _require_hello(message[_HEADER.size :])
    if kind != _MULTIPART_REPLY:
        return False
    what, flags = struct.unpack_from("!HH", message, _HEADER.size)
    if what != _PORT_DESCRIPTION or (len(message) - _MULTIPART_BYTES) % _PORT_BYTES:
        raise HandshakeError(f"an unexpected answer of type {what}")
    return not flags & _REPLY_MORE


def _require_hello(elements: bytes) -> None:
    while elements:
        if len(elements) < 4:
            raise HandshakeError("a hello that ends within an element")
        kind, length = struct.unpack_from("!HH", elements)
        if not 4 <= length <= len(elements):
            raise HandshakeError(f"a hello with an element of {length} bytes")
        if kind == _VERSION_BITMAP:
            words = elements[4:length]
            if len(words) < 4 or len(words) % 4 or not words[3] & 1 << _VERSION:
                raise HandshakeError("a hello without OpenFlow 1.3")
        # Elements are padded to eight bytes.
        elements = elements[(length + 7) // 8 * 8 :]
