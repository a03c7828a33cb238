"""Page of a plan: one HTML file for whoever decides and for engineers, from records alone.

The first screen is made from ``plan.json``. Curves, sliders and sizes of messages are those of the
runs that the store holds for the plan; without the store, or after a change of the network, the
page lacks them and says why. Neither the task nor a training framework is loaded.
"""
