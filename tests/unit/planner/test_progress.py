from __future__ import annotations

from planner.progress import Progress


def test_progress_says_what_is_known():
    now = Progress("stage 2: 16 runs to 11 %", 40, 93, 48, 0.8491)
    assert now.describe() == "best 0.849"
    assert now.line() == (
        "stage 2: 16 runs to 11 %; 48 runs begun, 40 of at most 93 rounds, best 0.849"
    )
    early = Progress("predicting costs")
    assert early.describe() == ""
    assert early.line() == "predicting costs"
