"""Rate traces: link rates that change over time, and the files that hold them."""
