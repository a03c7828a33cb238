"""What only a GPU can justify; a run on a CPU imports nothing of this package.

No figure of a GPU has been measured yet; ``experiments/training_speed/gpu.py`` measures them. Each
module says what it does, what it costs in lines, and which figure would keep it.
"""
