"""Text that can be written down."""

from __future__ import annotations


def is_unicode(text: str) -> bool:
    """Whether a text can be written to a file; lone surrogates, which escapes can make, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
