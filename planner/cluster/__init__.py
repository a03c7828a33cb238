"""Training on a cluster that is already there: jobs are values that any worker can answer."""
