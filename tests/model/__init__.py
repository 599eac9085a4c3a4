"""Checks of model/."""
