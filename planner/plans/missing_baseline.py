"""Reasons for which a plan has no run of a baseline."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "round_s", "client_bytes", "epsilon", "budget", "diverged", "effort", "failed", "not_private"
]
DIVERGED: Reason = "diverged"  # training gave values that are not finite
NOT_REACHED: Reason = "effort"  # the search ended before the run's first evaluation
FAILED: Reason = "failed"  # its calls failed on all workers, although it did not diverge
NOT_PRIVATE: Reason = "not_private"  # the request's privacy gives it no guarantee
