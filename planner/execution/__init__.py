"""The runs behind a plan: the curve store, worker processes, effort."""
