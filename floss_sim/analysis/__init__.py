"""Analysis of recorded runs: comparison, costs and other networks; nothing is trained here."""
