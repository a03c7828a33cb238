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

from planner.calls import answer, apply_plan, plan, read_plan
from planner.candidates import grid
from planner.question.budget import parse_budget
from planner.question.request import Request

__all__ = ["Request", "answer", "apply_plan", "grid", "parse_budget", "plan", "read_plan"]
