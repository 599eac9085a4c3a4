"""Many runs at once: contests, gaps between worlds, sweeps."""
