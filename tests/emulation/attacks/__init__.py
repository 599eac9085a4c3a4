"""Attempts of a hostile policy to see or disturb more than an agent may, and why each fails."""
