"""Fleets: the link of each client, from classes, lognormal laws or a table of rows."""
