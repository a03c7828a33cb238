"""Fleets: the link of each client, from classes, lognormal laws or the rows of a CSV file."""
