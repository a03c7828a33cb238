"""Flat vector of the trained entries: its layout, densities and top-k masks."""
