"""Batched training of several runs in one process, used only where it leaves results unchanged.

``limits`` must be importable without torch, so this file imports nothing.
"""
