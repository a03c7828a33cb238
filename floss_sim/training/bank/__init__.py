"""The bank: clients that share one backbone train in one batched pass.

Stacked adapter layers, SGD steps of several clients, CUDA graphs, and what makes them fast.
"""
