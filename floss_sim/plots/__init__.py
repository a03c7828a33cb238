"""Plots: one module for each subject, with a tested DataFrame and a simple drawing function.

Every number in a plot is computed in another package. Only these modules load matplotlib and
pandas, so a command imports a plot module only when it draws.
"""
