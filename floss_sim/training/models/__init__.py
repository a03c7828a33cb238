"""Models: PEFT's model as a flat vector, the reference of every other way to train.

Loading, parameter names, adapters, inputs and dropout from named streams.
"""
