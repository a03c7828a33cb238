"""Differential privacy of clients: updates clipped in L2 norm, and Gaussian noise.

Clipping and noise for federated training are those of McMahan et al. (ICLR 2018, "Learning
differentially private recurrent language models", section 2). DP-LoRA (Liu et al. 2023, algorithm
1, known from notes of others) clips and noises the gradient of each local step instead. With clip
C, noise multiplier s and K clients in a cohort, the trust says who adds the noise and who sees
what:

========  ========================  =======================================================
trust     noise in an upload        who sees what
========  ========================  =======================================================
sum       s C / sqrt(K) an entry    the server sees only the sum of a round's uploads, whose
                                    noise is s C, as with secure aggregation
server    none                      the server sees the clipped uploads, and adds s C to their
                                    sum; all others see versions only
local     s C an entry              the server may see each upload
========  ========================  =======================================================

Noise shares add up only where every client sends the same entries: entries that few clients chose
would have little noise in the sum. Trust ``sum`` therefore takes only uploads whose entries do not
depend on a client, as exact values. With trust ``local`` the noise comes before the choice of
entries, so that the mask tells no more than the noisy values do.

Noise is drawn from named random streams, so that runs can be repeated. That is for simulation: a
deployed run draws it from the operating system (:mod:`floss_sim.methods.system_noise`).

Shapes: vectors float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from floss_sim.errors import ConfigError
from floss_sim.methods.segment_selectors import Segments
from floss_sim.methods.selectors import SameMask
from floss_sim.methods.system_noise import with_system_noise
from floss_sim.methods.tier import Tier
from floss_sim.rng import stream
from floss_sim.vectors.top_k import Mask, Vector

Trust = Literal["sum", "server", "local"]
TRUSTS: tuple[Trust, ...] = get_args(Trust)
Source = Literal["seed", "system"]
SOURCES: tuple[Source, ...] = get_args(Source)
MOST_NOISE = 1e5  # times the clip; of no use to anybody, but still a float32
_LEAST_NOISE = 1e-12  # far below those that have a finite epsilon
_LEAST_CLIP, _MOST_CLIP = 1e-9, 1e9
DEFAULT_DELTA = 1e-5  # far below 1 / clients for fleets of simulations; not 1 / clients itself


@dataclass(frozen=True)
class DifferentialPrivacy:
    """Clipping and noise of the clients' updates.

    Args:
        clip: Largest L2 norm C of what an upload carries, head included, from 1e-9 to 1e9;
            infinity: no clipping.
        noise: Noise multiplier s, from 1e-12 to 1e5; 0: clipping alone, without a guarantee.
        trust: ``"sum"``, ``"server"`` or ``"local"``.
        delta: The delta at which epsilon is stated, in (0, 1).
        source: Where noise comes from: ``"seed"``, the run's, so that runs can be repeated, or
            ``"system"``, the operating system's randomness, which alone protects anybody.

    Raises:
        ConfigError: A value is out of range, or noise has no clip.
    """

    clip: float
    noise: float
    trust: Trust = "sum"
    delta: float = DEFAULT_DELTA
    source: Source = "seed"

    def __post_init__(self) -> None:
        if not (_LEAST_CLIP <= self.clip <= _MOST_CLIP or self.clip == math.inf):
            raise ConfigError(
                f"clip {self.clip:g}; valid: norms from {_LEAST_CLIP:g} to {_MOST_CLIP:g}, or inf "
                "without noise"
            )
        if not (_LEAST_NOISE <= self.noise <= MOST_NOISE or self.noise == 0):
            raise ConfigError(
                f"noise multiplier {self.noise:g}; valid: 0, or {_LEAST_NOISE:g} to {MOST_NOISE:g}"
            )
        if self.noise and math.isinf(self.clip):
            raise ConfigError("noise needs a finite clip: without one no noise is enough")
        if self.trust not in TRUSTS:
            raise ConfigError(f"unknown trust {self.trust!r}; valid: {', '.join(TRUSTS)}")
        if self.source not in SOURCES:
            raise ConfigError(f"unknown noise {self.source!r}; valid: {', '.join(SOURCES)}")
        if not 0 < self.delta < 1:
            raise ConfigError(f"delta {self.delta:g}; valid: between 0 and 1, as 1e-5")

    def client_noise(self, cohort: int) -> float:
        """Return the standard deviation of the noise that a client adds to an entry.

        Args:
            cohort: Number of clients in a cohort, K.
        """
        if self.trust == "server" or not self.noise:
            return 0.0
        return self.noise * self.clip / (math.sqrt(cohort) if self.trust == "sum" else 1.0)

    def server_noise(self, reports: int) -> float:
        """Return the standard deviation of the noise that the server adds to a mean's entry.

        Args:
            reports: Number of updates in the mean.
        """
        return self.noise * self.clip / reports if self.trust == "server" and self.noise else 0.0

    def clipped(self, update_N: Vector, within_N: Mask | None = None) -> Vector:
        """Return an update whose part within a mask has at most norm C; the rest is unchanged.

        Args:
            update_N: The update; the same array is returned if its part is short enough.
            within_N: Mask of the entries that may travel; None for all entries.
        """
        part_N = update_N if within_N is None else np.where(within_N, update_N, np.float32(0))
        norm = float(np.linalg.norm(part_N.astype(np.float64)))
        if norm <= self.clip:
            return update_N
        short_N = part_N * np.float32(self.clip / norm)
        return short_N if within_N is None else np.where(within_N, short_N, update_N)

    def check_delta(self, clients: int) -> None:
        """Raise ConfigError if a fleet of some clients is too large for the delta."""
        if self.delta >= 1 / clients:
            raise ConfigError(
                f"delta {self.delta:g} would allow the data of one of {clients} clients to be "
                f"published; valid: below {1 / clients:g}"
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values; an infinite clip and a seed are left out."""
        clip = {} if math.isinf(self.clip) else {"clip": self.clip}
        source = {} if self.source == "seed" else {"source": self.source}
        return {**clip, "noise": self.noise, "trust": self.trust, "delta": self.delta, **source}

    def describe(self) -> str:
        """Return a description such as ``clip 0.5, noise 2 by sum``."""
        source = "" if self.source == "seed" else f" from the {self.source}"
        return f"clip {self.clip:g}, noise {self.noise:g} by {self.trust}{source}"


def with_noise(
    values_N: Vector,
    deviation: float,
    where_N: Mask,
    source: Source,
    seed: int,
    *names: int | str,
) -> Vector:
    """Return values with noise in the entries of a mask.

    Args:
        values_N: The values.
        deviation: Standard deviation of an entry.
        where_N: Mask of the entries.
        source: Where the noise comes from.
        seed: Seed of the run.
        names: Names of the stream of that seed.
    """
    if source == "system":
        return with_system_noise(values_N, deviation, where_N)
    noise_N = np.zeros(where_N.size, dtype=np.float32)
    draw = stream(seed, *names, "privacy").standard_normal(int(np.count_nonzero(where_N)))
    noise_N[where_N] = deviation * draw
    return values_N + noise_N


def check_privacy(
    privacy: DifferentialPrivacy,
    name: str,
    tiers: Sequence[Tier],
    up_values: str,
    divisor: str,
    *,
    takes_products: bool,
) -> None:
    """Check that the guarantee holds for a method with this trust.

    Args:
        privacy: Clipping and noise.
        name: Name of the method.
        tiers: Its tiers.
        up_values: Value code of its uploads.
        divisor: Divisor of its mean.
        takes_products: Whether its server step needs each client's update, not their mean.

    Raises:
        ConfigError: It does not hold.
    """

    def reason(trust: Trust) -> str:
        if trust == "local":
            return ""
        if takes_products:
            return "its server step takes each client's update, not their sum"
        if len(tiers) > 1 and divisor == "covering":
            return "its divisor depends on which clients take part"
        if trust == "server":
            return ""
        if not _sends_common_entries(tiers):
            return "its clients send different entries, whose noise does not add up in the sum"
        return "" if up_values == "fp32" else f"{up_values} rounds each client's share of the noise"

    if why := reason(privacy.trust):
        valid = " or ".join(trust for trust in TRUSTS if not reason(trust))
        raise ConfigError(
            f"method {name!r} is not private with trust {privacy.trust!r}: {why}; "
            f"valid here: {valid}"
        )


def _sends_common_entries(tiers: Sequence[Tier]) -> bool:
    """Return whether all clients of a round upload the same entries, whatever their data."""
    tier = tiers[0]
    if len(tiers) > 1 or tier.downloads_by_dispatch:
        return False
    return isinstance(tier.upload, SameMask) or (
        tier.upload.density == 1 and not isinstance(tier.upload, Segments)
    )
