"""What only a GPU can justify; a run on a CPU imports nothing of this package.

No figure of a GPU has been measured yet. Each module says what it does, what it costs in lines, and
which figure would keep it; ``experiments/training_speed/gpu.py`` measures most of them.
"""
