"""Fleets by law: every client's links drawn, or read from rows that were measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from floss_sim.documents import Duration, Fraction, Rate, Section
from floss_sim.errors import ProfileError
from floss_sim.network.fleets.classes import Fleet
from floss_sim.network.fleets.rows import LinkRows, read_rows
from floss_sim.network.link import ClientLink
from floss_sim.rng import stream

_BLOCK = 1024  # clients whose links are drawn together
_BLOCKS = 4096  # that are kept, 32 kB each: fleets of four million are drawn once


class LogRate(Section):
    """A lognormal rate: its median, and the standard deviation of its natural logarithm."""

    median: Rate
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.0


class LogDuration(Section):
    """A lognormal duration, likewise."""

    median: Duration
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.0


class LognormalFleet(Section):
    """Every client's links drawn from lognormal laws; ``correlation`` is of log down and log up."""

    law: Literal["lognormal"]
    down: LogRate
    up: LogRate
    rtt: LogDuration
    compute_per_example: LogDuration
    correlation: Annotated[float, Field(ge=-1, le=1)] = 0.0
    jitter: Duration = 0.0
    loss: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    dropout: Fraction = 0.0

    def fleet(self, size: int, cells: int, seed: int) -> Fleet:
        """Return a fleet of any size; client i's draws do not depend on the size."""
        drawn_of = _client_draws(lambda block: self._draw(seed, block))

        def link_of(client: int) -> ClientLink:
            down, up, rtt, compute = drawn_of(client).tolist()
            cell = client % cells if cells else 0
            return ClientLink(down, up, rtt, compute, self.jitter, self.loss, self.dropout, cell)

        return Fleet(size, link_of)

    def _draw(self, seed: int, block: int) -> NDArray[np.float64]:
        """Return (down, up, rtt, compute) of each client of a block."""
        normal = stream(seed, "fleet", block).standard_normal((_BLOCK, 4))
        mix = self.correlation
        normal[:, 1] = mix * normal[:, 0] + math.sqrt(1 - mix**2) * normal[:, 1]
        laws = (self.down, self.up, self.rtt, self.compute_per_example)
        medians, sigmas = ([getattr(law, of) for law in laws] for of in ("median", "sigma"))
        drawn: NDArray[np.float64] = medians * np.exp(normal * sigmas)
        return drawn


def _client_draws(draw: Callable[[int], NDArray[Any]]) -> Callable[[int], Any]:
    """Return what each client drew, from what each block of clients drew."""
    block_of = lru_cache(maxsize=_BLOCKS)(draw)
    return lambda client: block_of(client // _BLOCK)[client % _BLOCK]


class RowsFleet(Section):
    """Clients from the rows of a CSV file (see rows.py).

    ``law = "rows"`` draws a row for every client (by ``weight`` if there is such a column), so
    that down, up and round trip stay together; ``law = "table"`` takes row i for client i.
    """

    law: Literal["rows", "table"]
    file: str
    rtt: Duration | None = None
    compute_per_example: Duration | None = None
    _rows: LinkRows = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the file, relative to the profile's folder."""
        path = Path((context or {}).get("folder", ".")) / self.file
        defaults = {"rtt_s": self.rtt, "compute_s_per_example": self.compute_per_example}
        given = {name: value for name, value in defaults.items() if value is not None}
        self._rows = read_rows(path, given)

    @property
    def rows(self) -> LinkRows:
        """The rows that were read."""
        return self._rows

    def fleet(self, size: int, cells: int, seed: int) -> Fleet:
        """Return a fleet; without a column of cells its clients are dealt to cells in turn.

        Raises:
            ProfileError: A table with fewer rows than clients.
        """
        links = self._rows.links
        if self.law == "table" and size > len(links):
            raise ProfileError(
                f"{self.file} has {len(links)} clients; the task has {size}: "
                'use law = "rows" to draw them, or fewer clients'
            )
        row_of = _drawn_rows(self._rows.weights, seed) if self.law == "rows" else int
        deals = cells and not self._rows.have_cells

        def link_of(client: int) -> ClientLink:
            row = links[row_of(client)]
            return replace(row, cell=client % cells) if deals else row

        return Fleet(size, link_of)


def _drawn_rows(weights: Sequence[float], seed: int) -> Callable[[int], int]:
    """Return which row each client draws."""
    shares = np.array(weights) / math.fsum(weights)
    return _client_draws(
        lambda block: stream(seed, "fleet", block).choice(len(shares), size=_BLOCK, p=shares)
    )
