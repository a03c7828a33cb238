"""Learners that train with torch: a sequential reference and a batched one."""
