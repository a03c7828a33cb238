"""Speed tests made of numbers, and of laws whose shape is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from floss_sim.network.measured.speed_tests import SpeedTests


def made(down, up=None, rtt=None, weights=None, **changes: Any) -> SpeedTests:
    """Return speed tests in Mbit/s and ms; uploads are a tenth, round trips 30 ms."""
    down = np.asarray(down, float)
    settings: dict[str, Any] = {
        "source": "made.csv",
        "columns": {"down": "d", "up": "u", "latency": "l"},
        "units": {"down": "Mbps", "up": "Mbps", "latency": "ms"},
        "where": (),
        "down_bits_per_s": down * 1e6,
        "up_bits_per_s": (down / 10 if up is None else np.asarray(up, float)) * 1e6,
        "rtt_s": (np.full(down.size, 30.0) if rtt is None else np.asarray(rtt, float)) / 1e3,
        "weights": np.ones(down.size) if weights is None else np.asarray(weights, float),
        "lines": np.arange(2, down.size + 2),
        "left_out": 0,
        "filtered": 0,
    }
    return SpeedTests(**settings | changes)


def drawn(rows: int = 500) -> SpeedTests:
    """Return lognormal tests whose directions go together, with uneven weights."""
    draw = np.random.default_rng(0)
    base = draw.normal(size=rows)
    return made(
        np.exp(3 + base),
        up=np.exp(1 + 0.6 * base + 0.8 * draw.normal(size=rows)),
        rtt=np.exp(4 - 0.2 * base + 0.5 * draw.normal(size=rows)),
        weights=draw.integers(1, 9, rows),
    )


def narrow_lognormal(rows: int = 3000) -> SpeedTests:
    """Return tests of a lognormal law with little spread, which few tests show well enough."""
    draw = np.random.default_rng(1)
    return made(
        20 * np.exp(0.3 * draw.normal(size=rows)),
        up=5 * np.exp(0.15 * draw.normal(size=rows)),
        rtt=50 * np.exp(0.2 * draw.normal(size=rows)),
    )


def wide_lognormal(rows: int = 1000) -> SpeedTests:
    """Return tests of a lognormal law as wide as that of mobile networks."""
    draw = np.random.default_rng(2)
    base = draw.normal(size=rows)
    return made(
        24 * np.exp(base),
        up=9 * np.exp(0.7 * base + 0.9 * draw.normal(size=rows)),
        rtt=85 * np.exp(0.45 * draw.normal(size=rows)),
    )


def bimodal(rows: int = 1000) -> SpeedTests:
    """Return tests of two kinds of lines, 70 % fast and 30 % slow, each with some spread."""
    draw = np.random.default_rng(3)
    fast = draw.random(rows) < 0.7
    return made(
        np.where(fast, 200.0, 6.0) * np.exp(0.3 * draw.normal(size=rows)),
        up=np.where(fast, 40.0, 0.6) * np.exp(0.4 * draw.normal(size=rows)),
        rtt=np.where(fast, 15.0, 60.0) * np.exp(0.2 * draw.normal(size=rows)),
    )


def three_kinds(rows: int = 3000) -> SpeedTests:
    """Return tests of three kinds of lines in equal number, each with a little spread."""
    draw = np.random.default_rng(6)
    kind = np.arange(rows) % 3
    columns = ((200.0, 20.0, 4.0), (30.0, 5.0, 1.0), (15.0, 30.0, 60.0))
    down, up, rtt = (
        np.array(medians)[kind] * np.exp(0.15 * draw.normal(size=rows)) for medians in columns
    )
    return made(down, up=up, rtt=rtt)


def heavy_tail(rows: int = 1000) -> SpeedTests:
    """Return tests whose times have a Pareto tail of index 1.2: rates 60 and 20 over Pareto."""
    draw = np.random.default_rng(4)
    down, up = (1 + draw.pareto(1.2, size=rows) for _ in range(2))
    return made(60 / down, up=20 / up, rtt=40 * np.exp(0.5 * draw.normal(size=rows)))


def with_absurd(rows: int = 1000, absurd: int = 4) -> SpeedTests:
    """Return lognormal tests of little spread, a few of which have uploads of 0.01 Mbit/s."""
    draw = np.random.default_rng(5)
    up = 10 * np.exp(0.3 * draw.normal(size=rows))
    up[draw.choice(rows, absurd, replace=False)] = 0.01
    return made(40 * np.exp(0.3 * draw.normal(size=rows)), up=up, rtt=np.full(rows, 40.0))
