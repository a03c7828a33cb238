"""Transfers in simulated time: max-min fair sharing, pipes, and the carrier of payloads."""
