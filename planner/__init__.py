"""The planner: which rank and densities give the best model within a budget.

::

    budget -> candidates -> cost (predicted) -> search (real training, stored curves) -> plan

The cost of a round of every candidate is known before training; any run can be paused and resumed;
every curve is kept in the store and shared by all searches.

Packages: ``question`` (the request and its predicted cost), ``search`` (strategies: what to train
next), ``forecasts`` (learning curves beyond their ends), ``execution`` (curve store and workers),
``decisions`` (what is recommended, and why), ``plans`` (the answer as data) and ``report`` (tables,
sentences and pictures). ``planning``, ``answers`` and ``apply`` are the three things to ask for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
