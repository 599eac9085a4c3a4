"""The simulator: the second world, slotted for agents and continuous in time between slots."""
