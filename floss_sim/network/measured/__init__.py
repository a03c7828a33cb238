"""Measured networks: speed tests, fleets fitted to them, and profile files of these fleets."""
