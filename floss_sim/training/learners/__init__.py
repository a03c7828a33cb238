"""Learners that really train: the reference, one client at a time, and the bank's."""
