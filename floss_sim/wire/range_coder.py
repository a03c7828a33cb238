"""Range coder for bits and symbols with known probabilities.

Eight bits are one symbol of the range coder (Martin 1979; the library *constriction*). Its model
treats the bits as independent: a byte of j ones has probability ``p**j * (1 - p)**(8 - j)``. Both
ends compute the model by the same float64 products, which IEEE 754 makes identical everywhere.

A *scale* is a table of densities, and a *level* is an index into it. Densities run from 2**-20 to
1/2 with 1, 2 or 4 levels per octave, and are mirrored above 1/2. The first level is density 0 and
the last is density 1; bits of these two levels cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError

Counts = NDArray[np.int64]
SymbolModel = Any  # a model of constriction, which is untyped
Symbols = NDArray[np.int32]

LOST_BITS = 1.4e-4  # bits per symbol that the coder's integer divisions lose on average
_STATE_BYTES, _LOWER, _ALL_ONES = 8, 2**32 - 1, 2**64 - 1  # the coder's 64-bit state
_QUARTERS = (4096, 3444, 2896, 2435)  # steps within an octave: 4096 * 2**(-i/4), rounded
_OCTAVES = 20  # octaves of density, from 1/2 down to 2**-20
_ONES = np.array([i.bit_count() for i in range(256)])


class Scale:
    """Table of densities in increasing order, with 1, 2 or 4 levels per octave."""

    def __init__(self, an_octave: int) -> None:
        quarters = _QUARTERS[:: 4 // an_octave]
        falling = [q / 4096 / 2**octave for octave in range(1, _OCTAVES) for q in quarters]
        falling.append(0.5**_OCTAVES)
        inner = np.array([*reversed(falling), *(1 - p for p in falling[1:])])
        self.densities = np.array([0.0, *inner, 1.0])
        self.last = len(self.densities) - 1
        odds = inner / (1 - inner)
        middle = np.sqrt(odds[1:] * odds[:-1])
        # Bounds between levels: density 0 is at or below the first, density 1 above the last.
        self._between = np.array([0.0, *(middle / (1 + middle)), np.nextafter(1, 0)])
        with np.errstate(divide="ignore"):
            one_bits, self._zero_bits = -np.log2(self.densities), -np.log2(1 - self.densities)
        one_bits[0] = self._zero_bits[-1] = 0  # level 0 has no ones and the last level no zeros
        self._more_bits = one_bits - self._zero_bits
        self._models: dict[int, SymbolModel] = {}

    def levels_of(self, counts_C: Counts, sizes_C: Counts) -> Counts:
        """Return the levels of cells that have ``counts_C`` ones among ``sizes_C`` bits."""
        levels_C: Counts = self._between.searchsorted(counts_C / np.maximum(sizes_C, 1))
        return levels_C

    def cost_bits(self, counts_C: Counts, sizes_C: Counts, levels_C: Counts) -> float:
        """Return the bits that cells take at given levels, without the coder's loss.

        Args:
            counts_C: Number of ones in each cell.
            sizes_C: Number of bits in each cell.
            levels_C: Level of each cell.
        """
        more_bits = counts_C @ self._more_bits[levels_C]
        return float(sizes_C @ self._zero_bits[levels_C] + more_bits)

    def model(self, level: int) -> SymbolModel:
        """Return the model of a byte at a level."""
        if level not in self._models:
            self._models[level] = byte_model(float(self.densities[level]))
        return self._models[level]


FINE, COARSE = Scale(4), Scale(1)


def weight_model(weights: Sequence[float] | NDArray[np.float64]) -> SymbolModel:
    """Return the model of symbols with probabilities proportional to two or more weights."""
    return constriction.stream.model.Categorical(np.asarray(weights), perfect=False)


def byte_model(density: float) -> SymbolModel:
    """Return the model of eight independent bits, each one with probability ``density``."""
    ones, zeros = np.ones(9), np.ones(9)
    for j in range(1, 9):
        ones[j], zeros[j] = ones[j - 1] * density, zeros[j - 1] * (1 - density)
    return weight_model((ones * zeros[::-1])[_ONES])


class SymbolWriter:
    """Range encoder: symbols to bytes."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def write(self, symbols: NDArray[np.integer[Any]], model: SymbolModel) -> None:
        """Encode symbols with a model."""
        self._coder.encode(symbols.astype(np.int32, copy=False), model)

    def finish(self) -> bytes:
        """Return the shortest byte string that decodes to the symbols if zeros follow it."""
        settled, (low, span) = self._coder.pos()
        words: bytes = self._coder.get_compressed()[:settled].astype(">u4").tobytes()
        end = _roundest_number(low, span)
        if end > _ALL_ONES and low <= _ALL_ONES - _LOWER:
            # ``end`` carries into the settled words; here the coder's own end did not.
            words = (int.from_bytes(words, "big") + 1).to_bytes(len(words), "big")
        section: bytes = words + (end & _ALL_ONES).to_bytes(_STATE_BYTES, "big")
        return section.rstrip(b"\0")


def _roundest_number(low: int, span: int) -> int:
    """Return the lowest number in [low, low + span) that has the most zero bytes at its low end."""
    for zeros in range(8 * _STATE_BYTES, -1, -8):
        rounded = -(-low >> zeros) << zeros
        if rounded - low < span:
            return rounded
    raise ValueError(f"no number in a range of length {span} from {low}")


class SymbolReader:
    """Range decoder: bytes to symbols; bytes missing at the end are zero."""

    def __init__(self, section: memoryview) -> None:
        padded = bytes(section) + bytes(-len(section) % 4)
        words = np.frombuffer(padded, ">u4").astype(np.uint32)
        self._section = section
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._again = SymbolWriter()

    def read(self, count: int, model: SymbolModel) -> Symbols:
        """Return the next ``count`` symbols, decoded with a model.

        Raises:
            PayloadError: No encoder writes such bytes.
        """
        try:
            symbols: Symbols = self._coder.decode(model, count)
        except AssertionError:
            raise PayloadError("range-coded positions are damaged") from None
        self._again.write(symbols, model)
        return symbols

    def check_end(self) -> None:
        """Check that an encoder of the symbols read so far writes exactly these bytes.

        Raises:
            PayloadError: An encoder writes other bytes.
        """
        if self._again.finish() != self._section:
            raise PayloadError("range-coded positions do not end in the fewest possible bytes")
