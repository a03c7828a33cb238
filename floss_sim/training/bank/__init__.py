"""The bank: one frozen backbone that trains many clients' adapters in one batched pass.

Contents: layers with one adapter per client, SGD steps of several clients, CUDA graphs, oneDNN
products, the first-token shortcut, and top-k on the device.
"""
