"""A plan in words, tables and pictures."""
