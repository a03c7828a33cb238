"""Measured networks: speed tests, fleets fitted to them, and the profile files written."""
