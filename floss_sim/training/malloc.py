"""What becomes of memory that a pass of training frees: it is kept for the next pass.

glibc gives what is free at the heap's end back to the system, and large blocks at once. Each pass
frees its activations, and the next has them faulted in anew, page by page: on ``digits`` 1,600
faults a round, an eighth of its time. The peak of memory is the same.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_..., as malloc.h numbers them
_KEPT_BYTES = 2**30  # about what a pass holds at most on a CPU
_LARGEST_BYTES = 2**25  # the largest threshold that glibc takes; larger blocks are not kept


def keep_freed_memory() -> bool:
    """Have the process keep what it frees, up to 1 GiB; return whether its C library can."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES))
