"""Print the pins (``name==version``, or files of them) that the running Python does not meet.

Standard library only, since it runs before anything is installed. Looking versions up takes a
fraction of a second, where asking pip to install what is already there takes several.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def pins_of(arguments: Iterable[str]) -> Iterator[str]:
    """Yield each pin named in the arguments or in the files that they name."""
    for argument in arguments:
        lines = [argument] if "==" in argument else Path(argument).read_text().splitlines()
        yield from (line.strip() for line in lines if line.strip() and not line.startswith("#"))


def is_met(pin: str) -> bool:
    """Say whether the pinned version is installed; a local suffix (``+cpu``) does not count."""
    name, _, wanted = pin.partition("==")
    try:
        return version(name).partition("+")[0] == wanted
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    for unmet in (pin for pin in pins_of(sys.argv[1:]) if not is_met(pin)):
        sys.stdout.write(f"{unmet}\n")
