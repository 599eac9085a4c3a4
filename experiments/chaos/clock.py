"""A wall clock that jumps for one process and all that it starts, while the machine's stays."""

from __future__ import annotations

import shutil
from pathlib import Path

from emulation.host.commands import run

_NAME, _COMPILER = "jump", "gcc"
_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Python reads the wall clock by this function alone, and sleeps by another clock. */
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int status = real(clock, now);
  if (status == 0 && clock == CLOCK_REALTIME) {
    char text[16] = {0};
    int file = open(getenv("LAB_CLOCK_JUMP"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
      if (read(file, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
      close(file);
    }
  }
  return status;
}
"""


def lacking() -> str:
    """Why there can be no such clock here, or ''."""
    return "" if shutil.which(_COMPILER) else f"no {_COMPILER}"


def environment(folder: Path) -> dict[str, str]:
    """What the process must be started with; a library in ``folder`` (GNU's C library, a compiler).

    Raises ``CommandError`` if it cannot be compiled.
    """
    source, library = folder / f"{_NAME}.c", folder / f"{_NAME}.so"
    source.write_text(_SOURCE, encoding="utf-8")
    run([_COMPILER, "-shared", "-fPIC", "-O2", "-o", str(library), str(source)])
    return {"LD_PRELOAD": str(library), "LAB_CLOCK_JUMP": str(folder / _NAME)}


def jump(folder: Path, seconds: int) -> None:
    """Put the wall clock of who was started with `environment` forward or back, s."""
    new = folder / f"{_NAME}.new"
    new.write_text(str(seconds), encoding="utf-8")
    new.replace(folder / _NAME)
