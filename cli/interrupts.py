"""Ctrl-C on the work of a verb: announced at the first, and never lost in a library."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from emulation.host import interrupts

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_S = 0.05


def interruptible(
    say: Callable[[str], None], words: str
) -> AbstractContextManager[Callable[[], bool]]:
    """Yields whether an end was asked for, by Ctrl-C or SIGTERM; then ``words`` are said."""
    return interrupts.interruptible(lambda: say(words))


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
