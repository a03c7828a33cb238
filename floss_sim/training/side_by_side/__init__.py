"""Several runs of one process that train side by side, batched where no bit depends on it.

``limits`` is known without torch; so nothing is imported here.
"""
