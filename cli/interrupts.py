"""Ctrl-C on long work: the first asks for an orderly end, the second ends at once; none is lost."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_S = 0.05


@contextmanager
def interruptible(say: Callable[[str], None], words: str) -> Iterator[Callable[[], bool]]:
    """Yields whether an end was asked for, by Ctrl-C or SIGTERM; then ``words`` are said."""
    asked = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say(words)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield lambda: asked
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def interrupt_again(unraisable: UnraisableHookArgs) -> None:
    """For ``sys.unraisablehook``: an interrupt that a library swallowed comes again.

    Where C calls Python, as LLVM does while numba loads a kernel, an exception has nowhere to go.
    """
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    import threading

    # Not at once: this is still called from where it was swallowed.
    main = threading.main_thread().ident
    threading.Timer(_AGAIN_S, signal.pthread_kill, (main, signal.SIGINT)).start()
