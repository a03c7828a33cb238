"""Training for a plan: the curve store, worker processes, and effort in rounds."""
