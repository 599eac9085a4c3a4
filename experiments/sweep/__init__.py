"""Sweeps: many cells from one file, resumed, spread over processes or machines, one result each."""
