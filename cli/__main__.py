"""`python -m cli`, which `./lab` calls."""

from __future__ import annotations

import sys

from cli.interrupting import interrupt_again
from cli.main import main

if __name__ == "__main__":
    sys.unraisablehook = interrupt_again
    sys.exit(main())
