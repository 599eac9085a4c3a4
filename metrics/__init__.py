"""What a result folder's tables amount to: metrics, fidelity, audit, queues, statistics."""
