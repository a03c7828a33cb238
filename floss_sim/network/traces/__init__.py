"""Rate traces: capacities that change over time, and the files that hold them."""
