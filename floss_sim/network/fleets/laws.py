"""Fleets by law: client links drawn from lognormal laws, or taken from the rows of a CSV file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from floss_sim.documents import Duration, Fraction, Section
from floss_sim.errors import ProfileError
from floss_sim.network.devices.compute import ComputeSection
from floss_sim.network.fleets.classes import ClientClass, Fleet, check_compute, fleet_of_classes
from floss_sim.network.fleets.lognormal import BLOCK, LogDuration, LogRate, client_draws
from floss_sim.network.fleets.rows import LinkRows, parse_rows, read_rows
from floss_sim.network.link import ClientLink
from floss_sim.rng import stream

KEPT_ROWS = "kept_rows"  # key of a validation context: CSV text of the rows, in place of the file


class LognormalFleet(Section):
    """Fleet whose links are drawn from lognormal laws: one class of clients.

    ``correlation`` is the correlation of log down and log up. Jitter, loss and dropout are equal
    for all clients.
    """

    law: Literal["lognormal"]
    down: LogRate
    up: LogRate
    rtt: LogDuration
    compute_per_example: LogDuration | None = None
    compute: ComputeSection | None = None
    correlation: Annotated[float, Field(ge=-1, le=1)] = 0.0
    jitter: Duration = 0.0
    loss: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    dropout: Fraction = 0.0

    @model_validator(mode="after")
    def _check_compute(self) -> LognormalFleet:
        check_compute(self.compute_per_example, self.compute)
        return self

    def settings(self) -> dict[str, Any]:
        """Return the law as plain values, the speed of a device by value."""
        said = self.model_dump(mode="json", exclude={"compute"})
        if self.compute is None:
            return said
        return {**said, "device": {**self.compute.speed.settings(), "sigma": self.compute.sigma}}

    def fleet(self, size: int, cells: int, seed: int) -> Fleet:
        """Return a fleet of ``size`` clients; client i's link does not depend on the size.

        Args:
            size: Number of clients.
            cells: Number of cells in the middle tier; 0 if there is none.
            seed: Seed of the network.
        """
        return fleet_of_classes([self.as_class()], size, cells, seed)

    def as_class(self) -> ClientClass:
        """Return the law as the only class of a fleet."""
        figures = {name: getattr(self, name) for name in type(self).model_fields.keys() - {"law"}}
        return ClientClass.model_construct(share=1.0, **figures)


class RowsFleet(Section):
    """Fleet whose links are rows of a CSV file (see rows.py).

    ``law = "rows"`` draws a row for every client, with probabilities proportional to the column
    ``weight`` if it exists. A client's rates and round trip thus come from one row.
    ``law = "table"`` takes row i for client i. With ``compute`` the file needs no column
    ``compute_s_per_example``, and has none; a spread (``sigma``) is for the other laws.
    """

    law: Literal["rows", "table"]
    file: Annotated[str, Field(examples=["links.csv"])]
    rtt: Duration | None = None
    compute_per_example: Duration | None = None
    compute: ComputeSection | None = None
    _rows: LinkRows = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the file, relative to the profile's folder, or the text of it in the context."""
        context = context or {}
        if KEPT_ROWS in context:
            rows = parse_rows(context[KEPT_ROWS].splitlines(True), Path(self.file), {})
            self._rows = self._with_device(rows)
            return
        path = Path(context.get("folder", ".")) / self.file
        per_example = 0.0 if self.compute else self.compute_per_example
        defaults = {"rtt_s": self.rtt, "compute_s_per_example": per_example}
        given = {name: value for name, value in defaults.items() if value is not None}
        self._rows = self._with_device(read_rows(path, given))

    def _with_device(self, rows: LinkRows) -> LinkRows:
        """Return the rows, with the device of the profile.

        Raises:
            ValueError: The time of compute is given twice, or the device has a spread.
        """
        if self.compute is None:
            return rows
        if self.compute.sigma:
            raise ValueError('compute.sigma: not with rows; valid: law = "lognormal", or classes')
        if self.compute_per_example is not None or any(
            link.compute_s_per_example for link in rows.links
        ):
            raise ValueError("compute: not with compute_per_example or its column")
        speed = self.compute.speed
        return replace(rows, links=tuple(replace(link, device=speed) for link in rows.links))

    @property
    def rows(self) -> LinkRows:
        """Rows of the file."""
        return self._rows

    def fleet(self, size: int, cells: int, seed: int) -> Fleet:
        """Return a fleet of ``size`` clients.

        Args:
            size: Number of clients.
            cells: Number of cells in the middle tier; 0 if there is none. If the file has no
                column ``cell``, client i is in cell i modulo ``cells``.
            seed: Seed of the network.

        Raises:
            ProfileError: A table with fewer rows than clients.
        """
        links = self._rows.links
        if self.law == "table" and size > len(links):
            raise ProfileError(
                f"{self.file} has {len(links)} rows, but the task has {size} clients; "
                'use law = "rows" to draw rows, or a task with fewer clients'
            )
        row_of = _drawn_rows(self._rows.weights, seed) if self.law == "rows" else int
        deals = cells and not self._rows.have_cells

        def link_of(client: int) -> ClientLink:
            row = links[row_of(client)]
            return replace(row, cell=client % cells) if deals else row

        return Fleet(size, link_of)


def _drawn_rows(weights: Sequence[float], seed: int) -> Callable[[int], int]:
    """Return a function from a client number to the number of the row that it draws."""
    shares = np.array(weights) / math.fsum(weights)
    return client_draws(
        lambda block: stream(seed, "fleet", block).choice(len(shares), size=BLOCK, p=shares)
    )
