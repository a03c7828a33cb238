"""Density, the fraction of entries that are kept: parsing, formatting, counting.

The FLoSS thesis calls the density "sparsity ratio".
"""

from __future__ import annotations

from fractions import Fraction

from floss_sim.errors import DensityError


def parse_density(text: str | float) -> float:
    """Parse a density such as ``"1/4"``, ``"0.25"`` or ``0.25``.

    Raises:
        DensityError: The value is not a number or a fraction, or is outside (0, 1].
    """
    try:
        # float() parses "1e-999999999" quickly; Fraction would compute the huge power of ten.
        density = float(Fraction(text) if isinstance(text, str) and "/" in text else text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise DensityError(f"density {text!r} is not a number or fraction such as 1/4") from None
    if not 0 < density <= 1:
        raise DensityError(f"density {text!r} is outside (0, 1]; 1/4 keeps a quarter")
    return density


def format_density(density: float) -> str:
    """Return a density as text: a fraction such as ``"1/16"`` if exact, else a decimal."""
    fraction = Fraction(density).limit_denominator(65536)
    return str(fraction) if float(fraction) == density else f"{density:.6g}"


def kept_count(entries: int, density: float) -> int:
    """Return ``max(1, floor(density * entries))``, the k of top-k (DESIGN, "The algorithm")."""
    return max(1, int(density * entries))
