"""Checks of emulation/."""
