"""Plots: one module a subject, each a DataFrame that is tested and a drawing that is thin.

Every number drawn is computed elsewhere. matplotlib and pandas are loaded by these modules alone,
so each is imported by the command that draws it.
"""
