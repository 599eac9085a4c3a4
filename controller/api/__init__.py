"""The operator's API of a running experiment, in a process of its own beside the controller."""
