"""Measure this machine's emulation against ideals: the fidelity card."""
