"""`python -m cli`, which `./lab` calls."""

from __future__ import annotations

import sys

from cli.interrupts import interrupt_again
from cli.main import main
from records.streams import run_guarded

if __name__ == "__main__":
    sys.unraisablehook = interrupt_again
    run_guarded(main)
