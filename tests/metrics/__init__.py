"""Checks of metrics/."""
