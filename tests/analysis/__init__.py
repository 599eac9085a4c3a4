"""Checks of what is read from results and captures."""
