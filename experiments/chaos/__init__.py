"""Faults in real runs: what becomes of a run, of its records and of the machine."""
