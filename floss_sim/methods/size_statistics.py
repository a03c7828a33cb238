"""Statistics of recorded messages: corrections of predicted sizes, and errors of predictions.

Real positions are not uniform and real values are not normal. For messages of LoRA that carry the
largest entries of the whole vector, or all, ``size_statistics.json`` has the ratios of real to
simple sizes, as polynomials of the logarithms of the round, the number of entries and the
densities. They are fitted to recorded runs (``experiments/message_sizes``, which also measures the
errors on runs that were held out of the fit). Outside the recorded range the nearest recorded
feature is taken.

========  ==========================================================
kind      message
========  ==========================================================
down-all  all entries that are not zero, to clients
down-top  the largest entries of the global vector, to clients
up-all    all entries of an update
up-top    the largest entries of an update
========  ==========================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.methods.touched_entries import TouchConstants

Floats = NDArray[np.float64]

KINDS = ("down-all", "down-top", "up-all", "up-top")
FEATURES = ("round", "entries", "density", "other_density", "head")
_FILE = "size_statistics.json"
_MANY = 16  # times the download's density, from which on uploads are a band of their own
ROUND_BANDS = (3, 10, 30)  # most rounds of the bands of short runs; longer ones are one more band
_BANDS = ((1 / 8, "1/8 to 1"), (1 / 32, "1/32 to 1/8"), (0.0, "below 1/32"))


@dataclass(frozen=True)
class RatioSurface:
    """Ratios of real to simple sizes, as functions of the features of a message.

    Attributes:
        low: Smallest recorded value of each feature.
        high: Largest recorded value of each feature.
        coefficients: Coefficients of the logarithm of the ratio, for each section of a message:
            ``"index"`` (positions) and the value codes. Their terms are those of :meth:`terms`.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    coefficients: Mapping[str, tuple[float, ...]]

    def terms(self, features_FJ: Floats) -> Floats:
        """Return the terms of the polynomial, shape (T, J).

        Features are scaled to -1 to 1 over the recorded range. The terms are 1, the features, their
        products in pairs, and the cube of the round.
        """
        low_F1, high_F1 = (np.array(bound)[:, None] for bound in (self.low, self.high))
        half_F1 = np.maximum(high_F1 - low_F1, 1e-9) / 2
        scaled_FJ = (np.clip(features_FJ, low_F1, high_F1) - low_F1) / half_F1 - 1
        pairs = combinations_with_replacement(range(len(scaled_FJ)), 2)
        products = [scaled_FJ[a] * scaled_FJ[b] for a, b in pairs]
        return np.stack([np.ones_like(scaled_FJ[0]), *scaled_FJ, *products, scaled_FJ[0] ** 3])

    def ratios(self, section: str, features_FJ: Floats) -> Floats:
        """Return the ratios of real to simple bytes of a section, shape (J,).

        Args:
            section: ``"index"`` or a value code.
            features_FJ: Features of the messages (:func:`features`).
        """
        if section not in self.coefficients:
            return np.ones(features_FJ.shape[1])
        logs_J: Floats = np.array(self.coefficients[section]) @ self.terms(features_FJ)
        ratios_J: Floats = np.exp(logs_J)
        return ratios_J


@dataclass(frozen=True, eq=False)  # hashed by identity: a key of caches
class SizeStatistics:
    """Content of ``size_statistics.json``.

    Attributes:
        touched: Constants of the touched share, by name of the method (:func:`statistics_name`).
        surfaces: Ratios of real to simple sizes, by kind of message, of LoRA.
        errors: Relative errors of predicted bytes, by method, direction, value code and band of
            densities; one for runs of each band of rounds (:func:`round_band`). Nine of ten
            held-out runs were predicted within it.
    """

    touched: Mapping[str, TouchConstants]
    surfaces: Mapping[str, RatioSurface]
    errors: Mapping[tuple[str, str, str, str], tuple[float, ...]]

    @property
    def largest_entries(self) -> int:
        """Largest number of entries of a recorded message."""
        place = FEATURES.index("entries")
        return round(2 ** max(surface.high[place] for surface in self.surfaces.values()))

    def error(self, method: str, way: str, values: str, band: str, rounds: int) -> float:
        """Return the relative error that predictions of a kind of message had on recorded runs.

        A kind that was not recorded has the largest error of the nearest recorded kinds: of the
        same method and value code, else of the same method, else of FLoSS.

        Args:
            method: Name of the method.
            way: ``"down"`` or ``"up"``.
            values: Value code.
            band: Band of densities (:func:`density_band`).
            rounds: Rounds of the run, all of whose bytes are predicted.
        """
        length = round_band(rounds)
        nearest = ((method, way, values, band), (method, way, values), (method, way))
        found = (
            [errors[length] for kind, errors in self.errors.items() if kind[: len(start)] == start]
            for start in (*nearest, ("floss", way))
        )
        return max(next(errors for errors in found if errors))


def density_band(way: str, down: float, up: float) -> str:
    """Return the band of densities by which errors are listed, such as ``"1/32 to 1/8"``.

    Downloads of everything depend on what uploads have touched. Uploads of many times the
    download's density are a band of their own, as training collapses then: ranks of which neither A
    nor B arrives have no gradient.

    Args:
        way: Direction of the message, ``"down"`` or ``"up"``.
        down: Density of downloads.
        up: Density of uploads.
    """
    density = down if way == "down" else up
    if way == "up" and up >= _MANY * down:
        return "16 times the download's or more"
    if density == 1:
        return "1 after sparse uploads" if way == "down" and up < 1 else "1"
    return next(name for least, name in _BANDS if density >= least)


def round_band(rounds: int) -> int:
    """Return the number of the band of runs of so many rounds, from 0.

    Early messages differ most from run to run, so that short runs have larger errors.
    """
    return sum(rounds > most for most in ROUND_BANDS)


@lru_cache(maxsize=1)
def size_statistics() -> SizeStatistics:
    """Return the statistics that are shipped with the package."""
    text = files("floss_sim.methods").joinpath(_FILE).read_text(encoding="utf-8")
    return statistics_of(json.loads(text))


def statistics_of(document: Mapping[str, Any]) -> SizeStatistics:
    """Return the statistics of a document in the form of ``size_statistics.json``."""
    surfaces = {
        kind: RatioSurface(
            tuple(given["low"]),
            tuple(given["high"]),
            {name: tuple(row) for name, row in given["coefficients"].items()},
        )
        for kind, given in document["surfaces"].items()
    }
    touched = {
        name: TouchConstants(made["correlation"], tuple(made["adapter"]), tuple(made["head"]))
        for name, made in document["touched"].items()
    }
    errors = {
        (row["method"], row["direction"], row["values"], row["density"]): tuple(row["errors"])
        for row in document["errors"]
    }
    return SizeStatistics(touched, surfaces, errors)


def features(
    rounds_J: Floats, groups: tuple[int, int, int], selected: int, other_density: float
) -> Floats:
    """Return the features of messages, shape (F, J), in the order of ``FEATURES``.

    All but the last are logarithms to the base 2. The last is 1 if the layout has a head and 0 if
    it has none, as for the prediction of next tokens.

    Args:
        rounds_J: Numbers of the rounds, from 1.
        groups: Entries of A, of the head's weight, and of all other tensors.
        selected: Selected entries, before zeros are dropped.
        other_density: Density of the messages in the other direction.
    """
    density, has_head = selected / sum(groups), float(groups[1] > 0)
    fixed = [math.log2(selected), math.log2(density), math.log2(other_density), has_head]
    return np.stack([np.log2(rounds_J), *(np.full_like(rounds_J, value) for value in fixed)])
