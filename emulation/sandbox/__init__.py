"""The spawner, root until each child has dropped it, and what limits its children."""
