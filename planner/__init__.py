"""The planner: which rank and densities give the best model within a budget.

::

    budget -> space -> cost (sizes only) -> search (real training, stored curves) -> plan -> report

The cost of a round of every candidate is known before training; any run can be paused and resumed;
every curve is kept in the store and shared by all searches.

Rooms: ``question`` (what is asked, and what it costs), ``strategies`` (what to train next),
``forecasts`` (what curves say beyond their ends), ``training`` (store and workers), ``plans`` (what
is answered) and ``telling`` (in words and pictures). What ties them together stands beside them.
"""
