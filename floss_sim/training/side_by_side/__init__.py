"""Batched training of several runs in one process, used only where it leaves results unchanged."""
