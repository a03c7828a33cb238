"""Models: PEFT's model bound to a flat vector, the reference for the bank's batched training.

Contents: backbone loading, parameter names, adapters, input readers, dropout from named streams.
"""
