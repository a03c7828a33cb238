"""Largest numbers of rounds and of predicted transfers of a request.

A request is priced before anything is trained, by predicting every transfer of every candidate up
to the cap on rounds. These limits keep that within seconds and 500 MB.
"""

from __future__ import annotations

MAX_ROUNDS = 50_000  # cap on rounds of a run; the default is 400
MAX_TRANSFERS = 10_000_000  # candidates times rounds times clients of a round; the default: 100,000
