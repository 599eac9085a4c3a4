"""Standard output and standard error: what may go wrong with them never ends or spoils a run.

All text for people and programs goes through `say` and `complain`, or through ``records.console``,
so that text of others (paths, reasons, names) cannot steer the terminal. `run_guarded` is what an
entry begins with:

- a reader that goes away (``| head``) is no error: the work goes on, what is printed is dropped;
- output that cannot be written (a full disk) costs one line on standard error and the status 1;
- characters that the screen's encoding lacks are written in ASCII (``-`` for a dash).
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import locale
import os
import re
import select
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NoReturn, TextIO

from records.plain import without_nan

NOT_WRITTEN = 1
"""Exit status where all went well but standard output could not be written."""

_ERRORS = "crowd-edge-lab"
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)
"""The reader of a pipe or a socket, or the terminal, is there no more."""
# Control characters, and those that turn the direction of what follows.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_IN_ASCII = {
    "–": "-", "—": "-", "−": "-", "…": "...", "·": ".", "×": "x", "≤": "<=", "≥": ">=", "→": "->",
    "†": "+", "±": "+-", "Σ": "Sum ", "‘": "'", "’": "'", "“": '"', "”": '"', "─": "-", "━": "-",
    "│": "|", "█": "#",
}  # fmt: skip


class _Guarded(io.RawIOBase):
    """A file descriptor that takes all bytes, and drops them once it cannot be written."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self.gone = False
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        while not (self.gone or self.error):
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another program has made the terminal non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.gone = error.errno in _GONE
                self.error = None if self.gone else error
        return len(data)


class _AsciiStream(io.TextIOWrapper):
    """A stream of ASCII whose bytes click does not find, or it would write UTF-8 into them."""

    @property
    def buffer(self) -> Any:
        raise AttributeError("buffer")


_stdout: _Guarded | None = None


def reader_is_gone() -> bool:
    """Return whether what is printed on standard output has no reader any more."""
    return _stdout is not None and _stdout.gone


def run_guarded(main: Callable[[], object]) -> NoReturn:
    """Run a program's main function over guarded streams, and end with the status it returns."""
    _guard_streams()
    try:
        result = main()
    except SystemExit as error:
        result = error.code
    status = result if isinstance(result, int) else 0
    sys.stdout.flush()
    if _stdout is not None and _stdout.error is not None:
        complain(f"standard output cannot be written: {_stdout.error.strerror}")
        status = status or NOT_WRITTEN
    sys.exit(status)


def printable(text: str) -> str:
    """Return text in which control characters are escaped, all but line ends and tabs."""
    return _CONTROL.sub(lambda found: _escaped(found[0]), text)


def one_line(value: object) -> str:
    """Return something's text, a path's say, with every control character escaped."""
    return printable(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def say(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text on standard output, or on standard error."""
    file = sys.stderr if err else sys.stdout
    if file is None:  # closed before the program began
        return
    file.write(printable(str(text)) + "\n" * nl)
    file.flush()


def say_json(data: object, indent: int = 2) -> None:
    """Print data as JSON, whatever the encoding; NaN and infinity, which JSON lacks, are null."""
    plain = without_nan(data)
    say(json.dumps(plain, indent=indent, ensure_ascii=not takes_unicode(), allow_nan=False))


@contextmanager
def stdout_for_json(asked: bool = True) -> Iterator[None]:
    """Send what is printed meanwhile, by child processes too, to standard error.

    So standard output holds nothing but the JSON that a command prints afterwards. ``asked``:
    whether the command was asked for JSON; else nothing happens.
    """
    if not asked:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def complain(message: str) -> None:
    """Print ``lab: message`` on standard error: one line, whatever the message holds."""
    say("lab: " + " ".join(message.split()), err=True)


def takes_unicode() -> bool:
    """Return whether standard output can be given any character."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _guard_streams() -> None:
    global _stdout
    codecs.register_error(_ERRORS, _substitute)
    _fill_closed_descriptors()
    # What is written to the originals until now is nothing, and from now on nothing either.
    _stdout = _Guarded(1)
    sys.stdout = _stream(_stdout, sys.stdout)
    sys.stderr = _stream(_Guarded(2), sys.stderr, always=True)


def _fill_closed_descriptors() -> None:
    """Open what the caller has closed, lest a result's file become standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _stream(raw: _Guarded, before: TextIO | None, *, always: bool = False) -> TextIO:
    encoding = _encoding(before)
    kind = _AsciiStream if encoding == "ascii" else io.TextIOWrapper
    by_line = always or raw.isatty()
    return kind(io.BufferedWriter(raw), encoding, _ERRORS, line_buffering=by_line)


def _encoding(before: TextIO | None) -> str:
    """Return the encoding that the user or the locale asks for; UTF-8 where neither says one."""
    named = os.environ.get("PYTHONIOENCODING", "").partition(":")[0]
    if named and before is not None:
        return codecs.lookup(before.encoding).name
    try:
        of_locale = codecs.lookup(locale.getencoding()).name
    except LookupError:
        return "utf-8"
    return "utf-8" if of_locale == "ascii" else of_locale


def _substitute(error: UnicodeError) -> tuple[str | bytes, int]:
    """Stand for what an encoding lacks: by the byte of a path it was read from, or in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), end
    if "\ud800" <= character <= "\udfff":
        return "?", end
    name = unicodedata.name(character, "")
    if character in _IN_ASCII:
        return _IN_ASCII[character], end
    if name.startswith("GREEK"):
        return name.rpartition(" ")[2].lower(), end
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?", end
