"""The planner: which rank and densities give the best model within a budget.

::

    budget -> space -> cost (sizes only) -> search (real training, stored curves) -> plan -> report

The cost of a round of every candidate is known before training; any run can be paused and resumed;
every curve is kept in the store and shared by all searches.
"""
