"""The emulation and the simulator, compared run by run: where they differ and by how much."""
