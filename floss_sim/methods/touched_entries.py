"""Expected share of the entries that some upload has touched, by round.

Entries that start at zero (LoRA's B, biases, offsets of pretrained weights) stay exactly zero until
an upload carries them, and exact zeros are never sent. A sparse upload carries the entries of
largest update, which are mostly the same for all clients, so that many entries are never touched.

The model is the one-factor Gaussian copula (Vasicek 1987, there for defaults of loans). Log
magnitudes of updates are normal. The part of an entry z that all clients share has the correlation
rho; the rest is drawn anew for each upload. The upload of round r carries the entries above a
threshold t(r), which keeps the density of the uploads. An entry is therefore in an upload with
probability

    p(r | z) = Phi((sqrt(rho) z - t(r)) / sqrt(1 - rho)),

and untouched after the uploads of rounds 1 to v, C of each, with probability
E_z[(1 - p(1 | z))^C ... (1 - p(v | z))^C]. Two groups differ from the others in their mean log
magnitude (in standard deviations): the head, which learns first, and LoRA's A, whose gradient grows
with B. Both differences are linear in the logarithm of the round, within bounds.

The constants are fitted to recorded runs (``experiments/message_sizes``).

Shapes: J anchors (rounds), G groups of entries, Q nodes of the quadrature over z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from floss_sim.vectors.layout import HEAD_WEIGHT, LORA_A, Layout

Floats = NDArray[np.float64]

_NODES = 40  # of the quadrature over the shared part
_STEPS = 40  # bisections of the threshold
_WIDEST = 12.0  # standard deviations; no threshold lies further out
_CERTAIN = 1 - 1e-12  # largest probability of an entry to be in an upload
_LAST = 100_000  # rounds; later ones are as this one
_DENSE_UNTIL = 20  # rounds, each of which is an anchor
_RATIO = 1.12  # of an anchor to the one before
STARTED = (LORA_A, HEAD_WEIGHT)  # kinds of tensors whose initial values are not zero


@dataclass(frozen=True)
class TouchConstants:
    """Constants of the model.

    Attributes:
        correlation: Correlation rho of log magnitudes between uploads.
        adapter: Difference of LoRA's A at round 1, its increase for a round e times as late, and
            its upper bound.
        head: The same of the head's weight, whose bound is a lower one.
    """

    correlation: float
    adapter: tuple[float, float, float]
    head: tuple[float, float, float]

    def differences(self, rounds_J: Floats) -> Floats:
        """Return the differences of the groups A, head and others, shape (3, J)."""
        log_J = np.log(rounds_J)
        adapter_J = np.minimum(self.adapter[0] + self.adapter[1] * log_J, self.adapter[2])
        head_J = np.maximum(self.head[0] + self.head[1] * log_J, self.head[2])
        return np.stack([adapter_J, head_J, np.zeros_like(log_J)])


def start_groups(layout: Layout) -> tuple[int, int, int]:
    """Return the entries of A, of the head's weight (neither starts at zero), and all others."""
    adapter, head = (sum(t.size for t in layout.tensors if t.kind == k) for k in STARTED)
    return adapter, head, layout.entries - adapter - head


@lru_cache(maxsize=1)
def anchor_rounds() -> Floats:
    """Return the rounds at which predictions are made; others are interpolated, shape (J,)."""
    count = math.ceil(math.log(_LAST / _DENSE_UNTIL) / math.log(_RATIO))
    later = _DENSE_UNTIL * _RATIO ** np.arange(1, count + 1)
    return np.concatenate([np.arange(1, _DENSE_UNTIL + 1), np.rint(later)]).astype(float)


def touched_shares(
    groups: tuple[int, int, int],
    uploads: Sequence[tuple[float, int]],
    constants: TouchConstants,
    rounds_J: Floats,
) -> Floats:
    """Return the expected touched share of the entries that start at zero.

    Args:
        groups: Entries of A, of the head's weight, and of all other tensors (:func:`start_groups`).
        uploads: Mean number of uploads of a round, and entries of each, by tier of the fleet.
        constants: Constants of the model.
        rounds_J: The first anchor rounds (:func:`anchor_rounds`).

    Returns:
        The share before each anchor round, shape (J,): 0 before round 1.
    """
    z_Q, weight_Q = _quadrature()
    shared, own = math.sqrt(constants.correlation), math.sqrt(1 - constants.correlation)
    hazard_QJ = np.zeros((z_Q.size, rounds_J.size))
    for number, entries in uploads:
        threshold_J = _thresholds(groups, entries, constants.differences(rounds_J))
        p_QJ = _normal_cdf((shared * z_Q[:, None] - threshold_J) / own)
        hazard_QJ -= number * np.log1p(-np.minimum(p_QJ, _CERTAIN))
    between_QJ = np.diff(rounds_J) * (hazard_QJ[:, 1:] + hazard_QJ[:, :-1]) / 2
    # The trapezoids end with the anchor's own round, whose uploads come after its download.
    ends_QJ = np.cumsum(between_QJ, axis=1) + (hazard_QJ[:, :1] - hazard_QJ[:, 1:]) / 2
    untouched_J = weight_Q @ np.exp(-np.maximum(ends_QJ, 0))
    return np.concatenate([[0.0], 1 - untouched_J])


def _thresholds(groups: tuple[int, int, int], entries: int, differences_GJ: Floats) -> Floats:
    """Return the thresholds above which ``entries`` of all entries are expected, by bisection."""
    low_J = np.full(differences_GJ.shape[1], -_WIDEST)
    high_J = -low_J
    sizes_G = np.array(groups, dtype=float)
    for _ in range(_STEPS):
        middle_J = (low_J + high_J) / 2
        above_J = sizes_G @ _normal_cdf(differences_GJ - middle_J)
        low_J = np.where(above_J > entries, middle_J, low_J)
        high_J = np.where(above_J > entries, high_J, middle_J)
    threshold_J: Floats = (low_J + high_J) / 2
    return threshold_J


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Floats, Floats]:
    nodes_Q, weights_Q = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes_Q, weights_Q / weights_Q.sum()


@lru_cache(maxsize=1)
def _cdf_table() -> tuple[Floats, Floats]:
    x = np.linspace(-8, 8, 4097)
    return x, np.array([(1 + math.erf(v / math.sqrt(2))) / 2 for v in x])


def _normal_cdf(values: Floats) -> Floats:
    """Return the standard normal distribution function, to 1e-6."""
    cdf: Floats = np.interp(values, *_cdf_table())
    return cdf
