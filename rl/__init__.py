"""Learning from delays: simulator, environment, networks, training, evaluation."""
