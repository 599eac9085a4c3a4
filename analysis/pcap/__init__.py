"""Packet captures of a run: read a million packets in seconds, and what they tell of its links."""
