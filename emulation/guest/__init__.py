"""A user's policy: a process of its own behind walls, and the device's end of the pipe to it."""
