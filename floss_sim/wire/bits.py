"""Symbols of known probability, range-coded; runs of bits of known density above all.

Eight bits are one symbol of a range coder (Martin 1979; the library *constriction*), whose model is
that of independent bits: a byte of j ones has probability ``p**j * (1 - p)**(8 - j)``. Both ends
compute it by the same products of float64, which IEEE 754 makes the same everywhere.

A *scale* is a table of densities, and a *level* its row: so many an octave from 2**-20 to 1/2,
mirrored above 1/2. The first level is a density of zero and the last one of one: such bits cost
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError

Counts = NDArray[np.int64]
Model = Any  # of the library, which has no types
Symbols = NDArray[np.int32]

CODER_BYTES = 2  # what a range coder takes beyond the information, about
_QUARTERS = (4096, 3444, 2896, 2435)  # 4096 * 2**(-i/4), rounded
_OCTAVES = 20
_ONES = np.array([i.bit_count() for i in range(256)])


class Scale:
    """A table of densities in increasing order, 1, 2 or 4 an octave."""

    def __init__(self, an_octave: int) -> None:
        quarters = _QUARTERS[:: 4 // an_octave]
        falling = [q / 4096 / 2**octave for octave in range(1, _OCTAVES) for q in quarters]
        falling.append(0.5**_OCTAVES)
        inner = np.array([*reversed(falling), *(1 - p for p in falling[1:])])
        self.densities = np.array([0.0, *inner, 1.0])
        self.last = len(self.densities) - 1
        odds = inner / (1 - inner)
        middle = np.sqrt(odds[1:] * odds[:-1])
        # A density of zero is at or below the first of these, one of one above the last.
        self._between = np.array([0.0, *(middle / (1 + middle)), np.nextafter(1, 0)])
        with np.errstate(divide="ignore"):
            one_bits, self._zero_bits = -np.log2(self.densities), -np.log2(1 - self.densities)
        one_bits[0] = self._zero_bits[-1] = 0  # of these there are none
        self._more_bits = one_bits - self._zero_bits
        self._models: dict[int, Model] = {}

    def levels_of(self, counts_C: Counts, sizes_C: Counts) -> Counts:
        """Return the level of each cell, which holds ``counts_C`` ones in ``sizes_C`` bits."""
        levels_C: Counts = self._between.searchsorted(counts_C / np.maximum(sizes_C, 1))
        return levels_C

    def cost_bits(self, counts_C: Counts, sizes_C: Counts, levels_C: Counts) -> float:
        """Return the bits that such cells take, but for a few of the coder's own."""
        more_bits = counts_C @ self._more_bits[levels_C]
        return float(sizes_C @ self._zero_bits[levels_C] + more_bits)

    def model(self, level: int) -> Model:
        """Return the model of eight bits of a level."""
        if level not in self._models:
            self._models[level] = bytes_of_density(float(self.densities[level]))
        return self._models[level]


FINE, COARSE = Scale(4), Scale(1)


def weighted(weights: Sequence[float] | NDArray[np.float64]) -> Model:
    """Return the model of symbols whose probabilities are as these weights, two or more of them."""
    return constriction.stream.model.Categorical(np.asarray(weights), perfect=False)


def bytes_of_density(density: float) -> Model:
    """Return the model of eight independent bits, each of which is one with this probability."""
    ones, zeros = np.ones(9), np.ones(9)
    for j in range(1, 9):
        ones[j], zeros[j] = ones[j - 1] * density, zeros[j - 1] * (1 - density)
    return weighted((ones * zeros[::-1])[_ONES])


class SymbolWriter:
    """Symbols to bytes."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def write(self, symbols: NDArray[np.integer[Any]], model: Model) -> None:
        """Append symbols under a model."""
        self._coder.encode(symbols.astype(np.int32, copy=False), model)

    def done(self) -> bytes:
        """Return the bytes: 32-bit words, highest byte first; zeros at the end are not sent."""
        words: bytes = self._coder.get_compressed().astype(">u4").tobytes()
        return words.rstrip(b"\0")


class SymbolReader:
    """Bytes back to symbols; what is missing at the end is zero.

    Raises:
        PayloadError: A zero at the end was sent.
    """

    def __init__(self, section: memoryview) -> None:
        if len(section) and not section[-1]:
            raise PayloadError("range-coded positions end in a zero, which is not sent")
        padded = bytes(section) + bytes(-len(section) % 4)
        words = np.frombuffer(padded, ">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def read(self, count: int, model: Model) -> Symbols:
        """Return the next symbols.

        Raises:
            PayloadError: No encoder writes such bytes.
        """
        try:
            symbols: Symbols = self._coder.decode(model, count)
        except AssertionError:
            raise PayloadError("range-coded positions are damaged") from None
        return symbols

    def done(self) -> None:
        """Check that nothing is left to read.

        Raises:
            PayloadError: There is.
        """
        if not self._coder.maybe_exhausted():
            raise PayloadError("bytes behind the range-coded positions")
