"""Runs: what one run is, the lockstep loop, and what follows from a run without training.

=================  =======================================  =============================
learner            payload sizes                            learning
=================  =======================================  =============================
SizeOnlyLearner    predicted from the method's densities    none
ReplayLearner      as recorded                              recorded metrics
ResumingLearner    as recorded, then those of a live one    recorded, then really learned
=================  =======================================  =============================

None of these learners needs a framework; those that train are in :mod:`floss_sim.training`.
"""
