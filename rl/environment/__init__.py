"""The environments' contract: agents, actions, observations, rewards; and the simulated one."""
