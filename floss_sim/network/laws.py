"""Fleets by law: every client's links drawn, or read from rows that were measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from floss_sim.documents import Duration, Fraction, Rate, Section
from floss_sim.errors import ProfileError
from floss_sim.network.fleet import Fleet
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

        @lru_cache(maxsize=_BLOCKS)
        def drawn(block: int) -> NDArray[np.float64]:
            return self._draw(stream(seed, "fleet", block))

        def link_of(client: int) -> ClientLink:
            down, up, rtt, compute = drawn(client // _BLOCK)[client % _BLOCK].tolist()
            cell = client % cells if cells else 0
            return ClientLink(down, up, rtt, compute, self.jitter, self.loss, self.dropout, cell)

        return Fleet(size, link_of)

    def _draw(self, draw: np.random.Generator) -> NDArray[np.float64]:
        """Return (down, up, rtt, compute) of each client of a block, of shape (_BLOCK, 4)."""
        normal = draw.standard_normal((_BLOCK, 4))
        mix = self.correlation
        normal[:, 1] = mix * normal[:, 0] + math.sqrt(1 - mix**2) * normal[:, 1]
        laws = (self.down, self.up, self.rtt, self.compute_per_example)
        medians = np.array([law.median for law in laws])
        drawn: NDArray[np.float64] = medians * np.exp(normal * [law.sigma for law in laws])
        return drawn


_COLUMNS = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "compute_s_per_example")
_OPTIONAL = ("jitter_s", "loss", "dropout", "cell", "weight")


class RowsFleet(Section):
    """Clients from the rows of a CSV file, by column: units stand in the columns' names.

    ``law = "rows"`` draws a row for every client (by ``weight`` if there is such a column), so
    that down, up and round trip stay together; ``law = "table"`` takes row i for client i.
    """

    law: Literal["rows", "table"]
    file: str
    rtt: Duration | None = None
    compute_per_example: Duration | None = None
    _rows: tuple[ClientLink, ...] = PrivateAttr()
    _weights: tuple[float, ...] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the file, relative to the profile's folder."""
        path = Path((context or {}).get("folder", ".")) / self.file
        defaults = {"rtt_s": self.rtt, "compute_s_per_example": self.compute_per_example}
        given = {name: value for name, value in defaults.items() if value is not None}
        rows = _read_rows(path, given)
        self._weights = tuple(row.pop("weight", 1.0) for row in rows)
        self._rows = tuple(_link(row) for row in rows)

    @property
    def weights(self) -> tuple[float, ...]:
        """How often each row is drawn, up to a factor."""
        return self._weights

    @property
    def rows(self) -> tuple[ClientLink, ...]:
        """The links that were read."""
        return self._rows

    def fleet(self, size: int, cells: int, seed: int) -> Fleet:
        """Return a fleet.

        Raises:
            ProfileError: A table with fewer rows than clients.
        """
        if self.law == "table":
            if size > len(self._rows):
                raise ProfileError(
                    f"{self.file} has {len(self._rows)} clients; the task has {size}: "
                    'use law = "rows" to draw them, or fewer clients'
                )
            return Fleet(size, lambda client: self._rows[client])  # it says its cells itself

        shares = np.array(self._weights) / sum(self._weights)

        @lru_cache(maxsize=_BLOCKS)
        def drawn(block: int) -> NDArray[np.int64]:
            return stream(seed, "fleet", block).choice(len(shares), size=_BLOCK, p=shares)

        def link_of(client: int) -> ClientLink:
            row = self._rows[int(drawn(client // _BLOCK)[client % _BLOCK])]
            return replace(row, cell=client % cells) if cells else row

        return Fleet(size, link_of)


def _link(row: Mapping[str, float]) -> ClientLink:
    return ClientLink(
        *(row["down_bits_per_s"], row["up_bits_per_s"], row["rtt_s"]),
        row["compute_s_per_example"],
        jitter_s=row.get("jitter_s", 0.0),
        loss=row.get("loss", 0.0),
        dropout=row.get("dropout", 0.0),
        cell=int(row.get("cell", 0)),
    )


def _read_rows(path: Path, defaults: dict[str, float]) -> list[dict[str, float]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            _check_columns(path, names, defaults)
            rows = [_row(path, i, row, defaults) for i, row in enumerate(reader, start=2)]
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if not rows:
        raise ValueError(f"{path} has no rows")
    return rows


def _check_columns(path: Path, names: Sequence[str], defaults: dict[str, float]) -> None:
    known = (*_COLUMNS, *_OPTIONAL)
    missing = [name for name in _COLUMNS if name not in names and name not in defaults]
    unknown = [name for name in names if name not in known]
    if missing or unknown:
        what = f"lacks column {missing[0]!r}" if missing else f"has unknown column {unknown[0]!r}"
        raise ValueError(f"{path} {what}; valid: {', '.join(known)}")


def _row(
    path: Path, line: int, row: dict[str, str], defaults: dict[str, float]
) -> dict[str, float]:
    values = dict(defaults)
    for name, text in row.items():
        try:
            values[name] = float(text)
        except (TypeError, ValueError):
            raise ValueError(f"{path}, line {line}: {name} {text!r} is no number") from None
        above = 0 if name in ("down_bits_per_s", "up_bits_per_s", "weight") else -1
        most = 1.0 if name in ("loss", "dropout") else math.inf
        if not (values[name] > above if above == 0 else values[name] >= 0) or values[name] >= most:
            valid = "above 0" if above == 0 else "0 or above"
            valid += " and below 1" if most == 1.0 else ""
            raise ValueError(f"{path}, line {line}: {name} is {text}; valid: {valid}")
    return values
