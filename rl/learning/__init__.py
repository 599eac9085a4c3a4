"""Learners: mixed MAPPO and the baselines of the paper, trained in the simulator."""
