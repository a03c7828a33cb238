"""Runs: the configuration of a run, the lockstep loop, and learners that do not train.

=================  =======================================  =============================
learner            payload sizes                            validation metrics
=================  =======================================  =============================
SizeOnlyLearner    predicted from the method's densities    none
ReplayLearner      recorded                                 recorded
ResumingLearner    recorded, then from a live learner       recorded, then measured
=================  =======================================  =============================

None of these learners needs a training framework; those that train are in
:mod:`floss_sim.training`.
"""
