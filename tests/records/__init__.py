"""Checks of records/."""
