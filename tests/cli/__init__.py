"""Checks of cli/."""
