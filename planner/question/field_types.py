"""Types of the values in a plan file, with their valid ranges."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, Field

from floss_sim.errors import ConfigError
from planner.candidates import Candidate

_LARGEST = 2**53  # larger integers cannot all be represented exactly as floats

Accuracy = Annotated[float, Field(ge=0, le=1)]
AccuracyChange = Annotated[float, Field(ge=-1, le=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
PositiveInt = Annotated[int, Field(ge=1, le=_LARGEST)]
OneLine = Annotated[str, Field(min_length=1, pattern=r"^[^\r\n]*$")]


def _check_candidate(candidate: Candidate) -> Candidate:
    if candidate.rank < 1 or candidate.rank > _LARGEST:
        raise ValueError(f"rank {candidate.rank} is invalid; valid: 1 to 2**53")
    if min(candidate.cohort_size, candidate.epochs, candidate.depth) < 0:
        raise ValueError("cohort_size, epochs and depth must not be negative")
    if not (0 <= candidate.client_lr < math.inf and 0 <= candidate.server_lr < math.inf):
        raise ValueError("client_lr and server_lr must be finite and not negative")
    try:
        candidate.as_method()
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return candidate


Configuration = Annotated[Candidate, AfterValidator(_check_candidate)]
"""A candidate whose rank, densities, value code, method and other axes are valid."""
