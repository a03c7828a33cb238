"""Analysis of recorded runs: comparison, costs, other networks. Reads finished runs, makes none."""
