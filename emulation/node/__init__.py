"""Node processes, unprivileged: devices that decide and send, units that serve tasks."""
