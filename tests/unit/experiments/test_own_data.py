"""What a new user is told: the figures of every table, computed once more from files alone."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from types import ModuleType

import commands
import numpy as np
import pytest
from places import load_study
from plan_oracle import (
    Accuracies,
    Key,
    StoredRun,
    accuracy_on_test,
    difference_on_test,
    fleet_seconds,
    quantile,
)

NETWORKS = ("lte", "mobile-mixed", "wifi")
UNITS = {
    "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "%": 1,
}  # fmt: skip
NUMBER = r"[+-]?\d+(?:\.\d+)?"
AMOUNT = rf"({NUMBER}) ({'|'.join(UNITS)})(?![\w/])"


class Walk:
    """What a new user has seen, and the files that it is about."""

    def __init__(self, folder: Path, size, clients: int, held_out: int) -> None:
        self.folder, self.size, self.clients, self.held_out = folder, size, clients, held_out
        self.text = {path.stem[3:]: path.read_text() for path in folder.glob("*.txt")}
        stored = [StoredRun(path.parent) for path in (folder / "store").glob("*/run.json")]
        self.runs: dict[Key, StoredRun] = {run.key: run for run in stored if run.seed == 0}
        self.repeated = {run.key for run in stored if run.seed}  # their accuracy is a mean of seeds
        curves = {key: run.curve for key, run in self.runs.items()}
        self.accuracies = Accuracies(curves, held_out, size.max_rounds)
        self.plan = json.loads((folder / "plan" / "plan.json").read_text())
        told = {"plan": self.plan["recommendation"]}
        told |= {f"#{i}": made for i, made in enumerate(self.shown_runners_up(), start=2)}
        told |= {"dense LoRA": self.plan["baselines"]["dense"]}
        told |= {"rule": self.plan["baselines"]["thesis_rule"]}
        self.keys = {name: key_of(made) for name, made in told.items() if made}

    def shown_runners_up(self) -> list[dict]:
        baselines = [key_of(made) for made in self.plan["baselines"].values() if made]
        return [made for made in self.plan["runners_up"] if key_of(made) not in baselines]

    def rounds(self, key: Key) -> int:
        return self.runs[key].affordable(self.budget, self.size.max_rounds)

    @property
    def budget(self) -> float:
        return amount(self.size.budget.replace("MB", " MB"))

    def row(self, command: str, title: str, number: int = 0) -> str:
        """Return a table's row, or of several rows with this title one by its number."""
        rows = [line for line in self.text[command].splitlines()
                if line.strip().startswith(f"{title} ")]  # fmt: skip
        return rows[number].strip().removeprefix(title).strip()

    def hits(self, key: Key) -> np.ndarray:
        """Return the share of the run's last models that are right, for each test example."""
        last = [r for r, _ in self.runs[key].curve if r <= self.rounds(key)]
        models = [r for r in last if r > 0.85 * self.rounds(key)] or last[-1:]
        return np.mean([self.runs[key].tested[r] for r in models], axis=0)

    @property
    def seed_sd(self) -> float:
        return max(self.accuracies.seed_sd, 0.13)


def key_of(made: dict) -> Key:
    return made["rank"], made["down_density"], made["up_density"]


def amount(text: str) -> float:
    number, unit = re.search(AMOUNT, text).groups()
    return float(number) * UNITS[unit]


def amounts(text: str) -> list[float]:
    return [float(number) * UNITS[unit] for number, unit in re.findall(AMOUNT, text)]


def rounded(value: float) -> object:
    """Return what a value printed with three digits compares equal to."""
    return pytest.approx(value, rel=0.0051)


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return load_study("own_data/walk.py")


@pytest.fixture(scope="module")
def walk(study: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Do what the study does, in this process: starting Python ten times takes half a minute."""
    out = tmp_path_factory.mktemp("own_data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        patch.setenv("COLUMNS", "80")
        patch.setenv("FLOSS_SIM_STORE", str(out / "store"))
        tests = study.made_tests(out / "speed_tests.csv", study.QUICK)
        task = study.own_task(out, None, study.QUICK)
        made = study.commands(tests, task, study.QUICK)
        for steps in (made, study.of_the_run(out)):
            for name, words in steps:
                (out / f"{name}.txt").write_text(commands.printed(patch, *words))
    if "task.toml" in task:
        return Walk(out, study.QUICK, clients=study.QUICK.clients, held_out=40)
    return Walk(out, study.QUICK, clients=100, held_out=350)


def test_rounds_bytes_and_spent_are_those_of_the_messages(walk: Walk):
    for title, key in walk.keys.items():
        row, run, rounds = walk.row("show", title), walk.runs[key], walk.rounds(key)
        assert row.split()[0] == str(key[0])
        assert row.split()[3] == str(rounds)
        nbytes, spent = amounts(row)
        assert nbytes == rounded(run.nbytes(rounds))
        assert spent == pytest.approx(100 * run.nbytes(rounds) / walk.budget, abs=0.51)


def test_validation_accuracies_are_a_posterior_of_all_curves(walk: Walk):
    of_one_seed = {title: key for title, key in walk.keys.items() if key not in walk.repeated}
    assert len(of_one_seed) >= 3
    for title, key in of_one_seed.items():
        low, mean, high = walk.accuracies.interval(key, walk.rounds(key))
        told, half = map(
            float, re.search(rf"({NUMBER})±({NUMBER})", walk.row("show", title)).groups()
        )
        assert told == pytest.approx(100 * mean, abs=0.06)
        assert half == pytest.approx(50 * (high - low), abs=0.06)


def test_test_accuracies_are_shares_of_right_predictions(walk: Walk):
    assert walk.keys["plan"] not in walk.repeated
    tested = [t for t, key in walk.keys.items() if t[0] != "#" and key not in walk.repeated]
    for title in tested:
        low, mean, high = accuracy_on_test(walk.hits(walk.keys[title]), walk.seed_sd)
        told = re.findall(rf"({NUMBER})±({NUMBER})", walk.row("show", title))[1]
        assert float(told[0]) == pytest.approx(100 * mean, abs=0.06)
        assert float(told[1]) == pytest.approx(50 * (high - low), abs=0.06)
    for title in tested[1:]:
        if walk.keys[title] == walk.keys["plan"]:
            continue
        low, mean, high = difference_on_test(
            walk.hits(walk.keys["plan"]), walk.hits(walk.keys[title]), walk.seed_sd
        )
        name = {"rule": "the thesis' rule"}.get(title, title)
        text = " ".join(walk.text["show"].split())
        (told,) = re.findall(rf"Compared with {name} [^;]*? test ([^;]*?), paired", text)
        assert [float(n) for n in re.findall(NUMBER, told)] == pytest.approx(
            [100 * mean, 100 * low, 100 * high], abs=0.06
        )


def test_times_are_those_of_the_slowest_client_of_every_round_on_forty_fleets(walk: Walk):
    phones = str(walk.folder / "phones.toml")
    ours = fleet_seconds(walk.runs[walk.keys["plan"]], walk.rounds(walk.keys["plan"]), phones,
                         walk.clients)  # fmt: skip
    for title, key in walk.keys.items():
        seconds = fleet_seconds(walk.runs[key], walk.rounds(key), phones, walk.clients)
        row = walk.row("show", title, 1)
        middle, *ends = between(row)
        assert middle == rounded(quantile(seconds, 0.5))
        assert ends[:2] == [rounded(quantile(seconds, 0.05)), rounded(quantile(seconds, 0.95))]
        if key == walk.keys["plan"]:
            assert "%" not in row
        else:
            slower = 100 * np.mean((seconds > ours) + 0.5 * (seconds == ours))
            assert float(re.search(r"(\d+) %", row).group(1)) == pytest.approx(slower, abs=0.51)
        if title[0] != "#":
            told = dict(zip(NETWORKS, ends[2:], strict=True))
            for network, value in told.items():
                there = fleet_seconds(walk.runs[key], walk.rounds(key), network, walk.clients)
                assert value == rounded(quantile(there, 0.5))


def between(row: str) -> list[float]:
    """Return the durations of a row, also those of an interval whose unit stands only once."""
    whole = re.sub(rf"({NUMBER})-({NUMBER}) (ms|s|min|h)\b", r"\1 \3 \2 \3", row)
    return amounts(re.sub(r"\d+ %", "", whole.replace("-", " ")))


def test_cheaper_ways_are_the_best_measured_points_within_their_bytes(walk: Walk):
    text = " ".join(walk.text["show"].split())
    told = re.findall(
        rf"Cheaper, with (\d+) % of the plan's bytes \({AMOUNT}\): validation accuracy ({NUMBER}) "
        rf"\(({NUMBER}) to ({NUMBER})\) by .*?, (\d+) rounds?\.", text,
    )  # fmt: skip
    key = walk.keys["plan"]
    whole = walk.runs[key].nbytes(walk.rounds(key))
    points = [
        (run.nbytes(r), *walk.accuracies.interval(key, r), r)
        for key, run in walk.runs.items()
        for r, _ in run.curve
        if run.nbytes(r) <= walk.budget
    ]
    expected = []
    for share in (0.5, 0.25, 0.1):
        inside = [point for point in points if point[0] <= share * whole]
        if inside:
            expected.append(min(inside, key=lambda p: (-p[2], p[0])))
    expected = [one for one, after in zip(expected, [*expected[1:], None], strict=True)
                if one != after]  # fmt: skip
    assert len(told) == len(expected) > 0
    for (share, number, unit, *ends, rounds), made in zip(told, expected, strict=True):
        assert float(number) * UNITS[unit] == rounded(made[0])
        assert int(share) == pytest.approx(100 * made[0] / whole, abs=0.51)
        assert [float(end) for end in ends] == pytest.approx([made[2], made[1], made[3]], abs=6e-4)
        assert int(rounds) == made[4]


def test_the_fit_has_the_quantiles_of_the_speed_tests(walk: Walk):
    with (walk.folder / "speed_tests.csv").open(newline="") as file:
        rows = [[float(cell) for cell in row.values()] for row in csv.DictReader(file)]
    for title, column in (("download, Mbit/s", 0), ("upload, Mbit/s", 1), ("round trip, ms", 2)):
        ordered = sorted(row[column] for row in rows)
        told = [float(cell) for cell in walk.row("fit", title).removeprefix("tests").split()]
        for share, value in zip((0.01, 0.05, 0.5, 0.95, 0.99), told, strict=True):
            place = share * len(ordered)
            near = ordered[max(0, int(place) - 2) : int(place) + 2]
            assert 0.99 * near[0] <= value <= 1.01 * near[-1]


def test_applied_replayed_and_accounted_figures_are_those_of_the_plan(walk: Walk):
    key = walk.keys["plan"]
    run, rounds = walk.runs[key], walk.rounds(key)
    whole = run.nbytes(rounds)
    seconds = fleet_seconds(run, rounds, str(walk.folder / "phones.toml"), walk.clients)
    planned, *predicted, realised = amounts(walk.row("apply", "bytes"))
    assert planned == realised == rounded(whole)
    assert predicted in ([], [pytest.approx(whole, rel=0.1), pytest.approx(10, abs=9)])
    told = amounts(walk.row("apply", "simulated time, median of fleets"))
    assert told[0] == told[2] == rounded(quantile(seconds, 0.5))

    for network, place in (("phones", "phones.toml"), ("lte", "lte")):
        where = str(walk.folder / place) if place.endswith(".toml") else place
        there = fleet_seconds(run, rounds, where, walk.clients)
        row = walk.row("replay", f"floss  {network}")
        told_bytes, *times = amounts(row)
        assert told_bytes == rounded(whole)
        expected = [quantile(there, q) for q in (0.5, 0.05, 0.95)]
        assert times[:3] == [rounded(value) for value in expected]
        assert times[3] == rounded(expected[0] / rounds)

    for way in ("down", "up"):
        total, each = amounts(walk.row("account", f"on the wire, {way}"))
        assert total == rounded(run.nbytes(rounds, way))
        assert each == rounded(run.nbytes(rounds, way) / rounds / run.cohort)
    assert amounts(walk.row("account", "encoded, aggregated"))[0] == rounded(whole)
