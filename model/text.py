"""Text that can be written down."""

from __future__ import annotations

import numpy as np


def is_unicode(text: str) -> bool:
    """Whether a text can be written to a file; lone surrogates, which escapes can make, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object, most: int = 80) -> str:
    """Any value in one short line of text that can be printed, whatever its ``repr`` does."""
    try:
        text = repr(value.item() if isinstance(value, np.generic) else value)
    except Exception:  # noqa: BLE001 - of an object of a user's
        return f"<{type(value).__name__}>"
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
