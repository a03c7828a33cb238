"""Reports of a plan: sentences, tables and plots."""
