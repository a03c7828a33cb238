"""Figures of a plan's page, computed once more from the files of the runs, in plain and slow code.

Of the package it takes what no figure is made of: which link a client has on a drawn fleet, and
the likeliest hyper-parameters of the Gaussian process, which ``test_gaussian_process`` checks.

Legend: a candidate is (rank, down density, up density); a point is a candidate and a round.
"""

from __future__ import annotations

import base64
import json
import math
from functools import cached_property
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from floss_sim import load_profile
from planner.forecasts.gaussian_process import Points, Process

Z90 = NormalDist().inv_cdf(0.95)
Key = tuple[int, float, float]


class StoredRun:
    """One run's folder, read file by file."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "run.json").read_text())["trajectory"]
        densities = told["method"]
        self.key: Key = (
            told["rank"], densities.get("down_density", 1.0), densities.get("up_density", 1.0),
        )  # fmt: skip
        self.seed = told["seed"]
        self.cohort = told["server"]["cohort"]
        parts = json.loads((folder / "manifest.json").read_text())["parts"]
        tables = {
            kind: pa.concat_tables([pq.read_table(folder / name) for name in names]).to_pylist()
            for kind, names in parts.items()
        }
        self.rounds, self.transfers = tables["rounds"], tables["transfers"]
        self.tested = {}
        if (folder / "test.json").exists():
            for number, model in json.loads((folder / "test.json").read_text()).items():
                if number.isdigit():
                    bits = np.frombuffer(base64.b64decode(model["right"]), np.uint8)
                    self.tested[int(number)] = np.unpackbits(bits)[: model["predictions"]]

    def nbytes(self, rounds: int, direction: str | None = None) -> int:
        return sum(
            row["nbytes"]
            for row in self.transfers
            if row["round"] <= rounds and direction in (None, row["direction"])
        )

    @property
    def curve(self) -> list[tuple[int, float]]:
        """Evaluated rounds and accuracies."""
        return [(r["round"], r["accuracy"]) for r in self.rounds if r["accuracy"] is not None]

    def affordable(self, budget: float, cap: int) -> int:
        """Return the last evaluated round within a budget of bytes and a cap."""
        return max((r for r, _ in self.curve if self.nbytes(r) <= budget and r <= cap), default=0)


def last_part(evaluated: list[int]) -> list[int]:
    """Return the rounds in the last 15 % of a curve, or its last one."""
    return [r for r in evaluated if r > 0.85 * evaluated[-1]] or evaluated[-1:]


def logit(p: float, examples: int) -> float:
    p = min(max(p, 0.5 / examples), 1 - 0.5 / examples)
    return math.log(p / (1 - p))


def expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class Accuracies:
    """Expected validation accuracies with their intervals: the posterior of a dense covariance.

    Args:
        curves: Evaluated rounds and accuracies of every run of one seed, none of them fallen.
        examples: Validation examples.
        cap: Most rounds of a run.
    """

    def __init__(self, curves: dict[Key, list[tuple[int, float]]], examples: int, cap: int):
        self.curves, self.examples, self.cap = curves, examples, cap
        bins = {key: self._bins(curve) for key, curve in sorted(curves.items())}
        self._learned = self._points(bins)
        process = Process.fit(self._learned, math.log(max(cap, 2)))
        self._hyper = np.exp(process.log_hyper)
        self._scale = (float(self._learned.y.mean()), max(float(self._learned.y.std()), 1e-2))
        self._width = np.maximum(np.ptp(self._learned.x, axis=0), 1.0)
        own = self._scale[1] * math.sqrt(self._hyper[6])
        runs = len(curves)
        self.seed_sd = math.sqrt((runs * own**2 + 4 * 0.13**2) / (runs + 4))

    def interval(self, key: Key, rounds: int) -> tuple[float, float, float]:
        """Return low, mean and high of a run's accuracy at an evaluated round, 0 to 1."""
        mean, sd = self._posterior(self._learned, key, rounds)
        end, error = self._end([(r, a) for r, a in self.curves[key] if r <= rounds])
        low = logit(end - 1.5 * error, self.examples)
        high = logit(end + 1.5 * error, self.examples)
        mean = min(max(mean, low), high)
        half = Z90 * math.hypot(self._stretch / Z90 * sd, self.seed_sd)
        return expit(mean - half), expit(mean), expit(mean + half)

    @cached_property
    def _stretch(self) -> float:
        """Quantile of the scores of held-out ends, each predicted from all that is not held out."""
        long = {k for k, curve in self.curves.items() if len(curve) >= 8}
        early = {
            k: [(r, a) for r, a in curve if r <= int(0.85 * curve[-1][0])] if k in long else curve
            for k, curve in self.curves.items()
        }
        known = self._points({k: self._bins(curve) for k, curve in sorted(early.items())})
        scores = [NormalDist().inv_cdf((1 + (k + 0.5) / 10) / 2) for k in range(10)]
        for key in long:
            mean, sd = self._posterior(known, key, self.curves[key][-1][0])
            end, error = self._end(self.curves[key])
            slope = expit(mean) * (1 - expit(mean))
            scores.append(abs(end - expit(mean)) / math.hypot(sd * slope, error))
        place = math.ceil((len(scores) + 1) * 0.9) - 1
        return sorted(scores)[min(place, len(scores) - 1)]

    def _end(self, curve: list[tuple[int, float]]) -> tuple[float, float]:
        """Return a curve's smoothed accuracy and its standard error."""
        last = last_part([r for r, _ in curve])
        end = float(np.mean([a for r, a in curve if r in last]))
        error = math.sqrt(end * (1 - end) / self.examples / len(last))
        return end, max(error, 0.5 / self.examples)

    def _bins(self, curve: list[tuple[int, float]]) -> list[tuple[float, float, int]]:
        edges = np.geomspace(1, max(self.cap, 2) + 1, 10)[1:-1]
        found: dict[int, list[tuple[int, float]]] = {}
        for r, accuracy in curve:
            found.setdefault(int((edges <= r).sum()), []).append((r, accuracy))
        return [
            (float(np.mean(np.log([r for r, _ in rows]))), float(np.mean([a for _, a in rows])),
             len(rows))
            for _, rows in sorted(found.items())
        ]  # fmt: skip

    def _points(self, bins: dict[Key, list[tuple[float, float, int]]]) -> Points:
        rows = [(np.log2(key), *row) for key, found in bins.items() for row in found]
        right = np.array([(a * self.examples + 0.5) / (self.examples + 1) for _, _, a, _ in rows])
        counts = np.array([count for *_, count in rows])
        return Points(
            np.array([x for x, *_ in rows]),
            np.array([t for _, t, _, _ in rows]),
            np.log(right / (1 - right)),
            1 / (self.examples * counts * right * (1 - right)),
        )

    def _posterior(self, known: Points, key: Key, rounds: int) -> tuple[float, float]:
        """Return mean and deviation of the log-odds at a point, by an inverse of the covariance."""
        span, (mean, sd) = math.log(max(self.cap, 2)), self._scale
        x = np.vstack([known.x, np.log2([key])]) / self._width
        time = np.append(known.time, math.log(rounds)) / span
        whole = np.array([[self._covariance(*a, *b) for b in zip(x, time, strict=True)]
                          for a in zip(x, time, strict=True)])  # fmt: skip
        noise = self._hyper[8] * known.variance / sd**2 + 1e-6
        inverse = np.linalg.inv(whole[:-1, :-1] + np.diag(noise))
        cross = whole[-1, :-1]
        middle = cross @ inverse @ ((known.y - mean) / sd)
        variance = max(whole[-1, -1] - cross @ inverse @ cross, 0.0)
        return mean + sd * middle, sd * math.sqrt(variance)

    def _covariance(self, x1, t1, x2, t2) -> float:
        """Return the covariance of two points, by the formula of ``gaussian_process``."""
        level, slope, bend, wander, common, shape, own, drift = self._hyper[:8]
        lengths, time_length = self._hyper[9:-1], self._hyper[-1]
        space = matern(math.sqrt(float((((x1 - x2) / lengths) ** 2).sum())))
        near = matern(abs(t1 - t2) / time_length)
        same = float(np.allclose(x1, x2))
        product = t1 * t2
        return (
            space * (level + slope * product + bend * near + wander * min(t1, t2))
            + common * product
            + shape * near
            + same * (own + drift * near)
        )


def matern(distance: float) -> float:
    root = math.sqrt(5) * distance
    return (1 + root + root**2 / 3) * math.exp(-root)


def accuracy_on_test(hits: np.ndarray, seed_sd: float) -> tuple[float, float, float]:
    """Return low, mean and high of a test accuracy; ``hits`` are shares of right models."""
    count, mean = len(hits), float(hits.mean())
    inside = min(max(mean, 0.5 / count), 1 - 0.5 / count)
    slope = inside * (1 - inside)
    error = max(math.sqrt(hits.var(ddof=1) / count + (seed_sd * slope) ** 2), 0.5 / count)
    low, high = (expit(math.log(inside / (1 - inside)) + s * Z90 * error / slope) for s in (-1, 1))
    return min(low, mean), mean, max(high, mean)


def difference_on_test(ours: np.ndarray, theirs: np.ndarray, seed_sd: float):
    """Return low, mean and high of a difference of two test accuracies, paired by example."""
    apart = ours - theirs
    luck = [seed_sd * float(hits.mean() * (1 - hits.mean())) for hits in (ours, theirs)]
    error = math.sqrt(apart.var(ddof=1) / len(apart) + sum(sd**2 for sd in luck))
    half = Z90 * max(error, 0.5 / len(apart))
    mean = float(apart.mean())
    return max(mean - half, -1.0), mean, min(mean + half, 1.0)


def fleet_seconds(run: StoredRun, rounds: int, network: str, clients: int) -> np.ndarray:
    """Return a run's seconds on 40 fleets: each round takes as long as its slowest client.

    A client's download, training and upload follow each other; each message takes half a round
    trip and its bits over its link's rate.
    """
    profile = load_profile(network)
    assert not profile.transport.setup_rtts
    seconds = []
    for seed in range(profile.seed, profile.seed + 40):
        links = profile.model_copy(update={"seed": seed}).links(clients)
        assert not any(link.jitter_s or link.loss for link in links)
        taken: dict[int, dict[int, float]] = {}
        for row in run.transfers:
            link = links[row["client"]]
            rate = link.up_bits_per_s if row["direction"] == "up" else link.down_bits_per_s
            spent = link.rtt_s / 2 + 8 * row["nbytes"] / rate
            spent += link.compute_s_per_example * row["examples"]
            of_round = taken.setdefault(row["round"], {})
            of_round[row["client"]] = of_round.get(row["client"], 0.0) + spent
        seconds.append(sum(max(taken[r].values()) for r in range(1, rounds + 1)))
    return np.array(seconds)


def quantile(values, share: float) -> float:
    """Return a quantile at position q (n + 1) of the sorted values, by linear interpolation."""
    ordered = sorted(values)
    place = share * (len(ordered) + 1)
    below = int(place)
    if below < 1:
        return ordered[0]
    if below >= len(ordered):
        return ordered[-1]
    return ordered[below - 1] + (place - below) * (ordered[below] - ordered[below - 1])
