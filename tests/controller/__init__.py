"""Checks of controller/."""
