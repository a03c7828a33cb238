"""Tiers read from a text, such as ``1:16,2:4``: a share of the fleet and fields of a method."""

from __future__ import annotations

from typing import Any, Literal

from floss_sim.errors import ConfigError
from floss_sim.methods.rank_selectors import Ranks
from floss_sim.methods.selectors import SameMask
from floss_sim.methods.tier import Tier
from floss_sim.vectors.density import parse_density


def rank_tiers(text: str, which: Literal["first", "largest"], example: str) -> tuple[Tier, ...]:
    """Return tiers that download, train and upload some ranks of every adapter, and the head.

    Args:
        text: ``share:ranks`` for each tier; ranks are a whole number, or a fraction of the run's.
        which: Ranks to keep.
        example: Valid text for the error message.

    Raises:
        ConfigError: The text cannot be read.
        DensityError: A fraction outside (0, 1].
    """
    parts = parse_tiers(text, ("share", "ranks"), example)
    return tuple(Tier(share, Ranks(_ranks(ranks), which), SameMask()) for share, ranks in parts)


def _ranks(text: str) -> int | float:
    if "/" in text:
        return parse_density(text)
    if not (text.isdecimal() and len(text) < 10):
        raise ConfigError(
            f"ranks {text[:20]!r} of a tier are neither a whole number nor a fraction such as 1/4"
        )
    return int(text)


def parse_tiers(text: str, names: tuple[str, ...], example: str) -> list[tuple[Any, ...]]:
    """Return the fields of each tier, the share first; shares are scaled to add up to 1.

    Args:
        text: The tiers, separated by commas; fields by colons.
        names: Names of the fields.
        example: Valid text for the error message.

    Raises:
        ConfigError: The text cannot be read.
    """
    try:
        rows = [part.strip().split(":") for part in text.split(",")]
        parts: list[tuple[Any, ...]] = [(float(share), *rest) for share, *rest in rows]
    except ValueError:
        parts = []
    if not parts or any(len(p) != len(names) or not 0 < p[0] < float("inf") for p in parts):
        raise ConfigError(
            f"cannot read tiers {text[:40]!r}; valid: {':'.join(names)} per tier, such as {example}"
        )
    total = sum(share for share, *_ in parts)
    return [(share / total, *rest) for share, *rest in parts]
