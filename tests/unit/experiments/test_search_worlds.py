"""The synthetic worlds of ``experiments/search_benchmark`` and its replays."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from places import load_with_siblings

from floss_sim.errors import ConfigError
from planner.execution.curve_store import last_evaluated_round
from planner.search import STRATEGIES
from planner.search.strategy import Extension

load = partial(load_with_siblings, "search_benchmark")


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("worlds", monkeypatch)


@pytest.fixture
def benchmark(worlds: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("kronecker_forecast", "kronecker_search", "prior_curves", "recorded"):
        load(name, monkeypatch)
    return load("benchmark", monkeypatch)


@pytest.fixture
def cells(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("cells", monkeypatch)


@pytest.fixture
def prior_world(worlds: ModuleType) -> ModuleType:
    reason = "worlds of family prior are drawn by the package ifbo, which is not installed"
    pytest.importorskip("ifbo.priors.ftpfn_prior", reason=reason)
    return partial(worlds.World, family="prior")


def whole(world, worlds, candidate):
    rounds = world.curve(candidate, 1).horizon
    return world.curve(candidate, last_evaluated_round(rounds))


def test_horizons_follow_from_bytes_on_a_slow_upload(worlds):
    assert len(worlds.SPACE) == 245
    (dense,) = [c for c in worlds.SPACE if (c.rank, c.down_density, c.up_density) == (16, 1, 1)]
    assert 50 <= worlds.HORIZONS[dense] <= 62  # the wire packs better than 32 bits
    sparse = worlds.Candidate(16, 1.0, 1 / 64)
    assert worlds.HORIZONS[sparse] > worlds.HORIZONS[worlds.Candidate(16, 1 / 64, 1.0)]
    assert max(worlds.HORIZONS.values()) == 400


@pytest.mark.parametrize("family", ["regular", "ill", "crossing"])
def test_a_world_says_the_same_however_it_is_asked(worlds, family: str):
    one, again = worlds.World(3, family), worlds.World(3, family)
    candidate = worlds.SPACE[100]
    early = one.extend([Extension(candidate, 20)])[candidate]
    late = again.extend([Extension(candidate, 200)])[candidate]
    assert late.until(20) == early
    assert worlds.World(4, family).curve(candidate, 200) != late


@pytest.mark.parametrize("family", ["regular", "ill", "crossing"])
def test_evaluations_err_like_350_images(worlds, monkeypatch, family: str):
    monkeypatch.setattr(worlds, "RUN_LUCK", 0.0)
    monkeypatch.setattr(worlds, "SPARSE_NOISE", 0.0)
    world = worlds.World(0, family)
    truth, shown = world._truth[:, np.array(worlds.EVALUATED) - 1], world._measured
    z = (shown - truth) / np.sqrt(truth * (1 - truth) / 350)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=0.03)
    assert np.allclose(shown * 350, np.round(shown * 350))


def test_regular_curves_rise_and_ill_ones_pause_decay_and_collapse(worlds):
    fallen, paused = [], []
    for seed in range(5):
        regular, ill = worlds.World(seed, "regular"), worlds.World(seed, "ill")
        assert (np.diff(regular._truth, axis=1) > 0).all()
        last = np.array([last_evaluated_round(int(h)) for h in ill._horizons])
        within = np.arange(worlds.CAP) < last[:, None]
        drop = (ill._truth * within).max(axis=1) - ill._final
        fallen += [(drop > 0.005).mean(), (drop > 0.4).mean()]
        flat = (np.diff(ill._truth, axis=1) == 0).sum(axis=1)
        paused.append((flat > 0.08 * last).mean())
    assert 0.1 < np.mean(fallen[::2]) < 0.3
    assert 0.03 < np.mean(fallen[1::2]) < 0.12
    assert 0.15 < np.mean(paused) < 0.4


def test_large_ranks_of_crossing_curves_are_slower_and_end_higher(worlds):
    ranks = np.array([c.rank for c in worlds.SPACE])
    for seed in range(10):
        world = worlds.World(seed, "crossing")
        sound = (world._truth.max(axis=1) - world._truth[:, -1]) < 1e-9
        early, late = (
            [world._truth[sound & (ranks == rank), at].mean() for rank in sorted(set(ranks))]
            for at in (9, worlds.CAP - 1)
        )
        assert (np.diff(early[1:]) < 0).all()
        assert early[0] > early[2]
        assert late[0] < late[1] < max(late[2:])


def test_a_tenth_of_crossing_curves_collapses_late(worlds):
    fallen, begins = [], []
    for seed in range(10):
        world = worlds.World(seed, "crossing")
        peaks = world._truth.argmax(axis=1) + 1
        falls = world._truth[:, -1] < worlds.CHANCE + 1e-9
        fallen.append(falls.mean())
        begins += (peaks / world._horizons)[falls].tolist()
    assert 0.07 < np.mean(fallen) < 0.13
    assert min(begins) > 0.58
    assert 0.7 < np.mean(begins) < 0.85


def test_evaluations_of_sparser_crossing_curves_are_noisier(worlds, monkeypatch):
    monkeypatch.setattr(worlds, "RUN_LUCK", 0.0)
    sparse = np.array([-np.log2(c.down_density * c.up_density) / 12 for c in worlds.SPACE])
    apart = []
    for seed in range(5):
        world = worlds.World(seed, "crossing")
        truth = world._truth[:, np.array(worlds.EVALUATED) - 1]
        apart.append((world._measured - truth) ** 2 - truth * (1 - truth) / 350)
    deviation = np.sqrt(np.mean(apart, axis=(0, 2)).clip(0))
    assert deviation[sparse == 1].mean() == pytest.approx(worlds.SPARSE_NOISE, rel=0.15)
    assert deviation[sparse == 0].mean() < 0.3 * worlds.SPARSE_NOISE
    assert np.corrcoef(sparse, deviation)[0, 1] > 0.7


def test_curves_of_the_sampler_are_those_of_the_seed_alone(prior_world):
    np.random.seed(7)
    one, other = prior_world(3)._truth, prior_world(4)._truth
    assert np.random.random() == np.random.RandomState(7).random()  # global streams stay
    assert (prior_world(3)._truth == one).all()
    assert one.shape == other.shape == (245, 400)
    assert not np.allclose(one, other)


def test_curves_of_the_sampler_are_free_of_noise(prior_world):
    """A curve of the mixture has no jumps; the sampler's own noise would have 0.7 points."""
    rough = [np.abs(np.diff(prior_world(seed)._truth[:, 40:], n=2)) for seed in range(6)]
    assert np.median(np.concatenate(rough)) < 1e-5
    assert min(prior_world(seed)._truth.min() for seed in range(6)) >= 0


def test_near_candidates_of_the_sampler_have_similar_curves(prior_world, worlds):
    """Candidates one step apart end closer to each other than two of the space do on average."""
    steps = [
        (worlds.SPACE.index(c), worlds.SPACE.index(replace(c, up_density=c.up_density / 2)))
        for c in worlds.SPACE
        if c.up_density > 1 / 64
    ]
    for seed in range(4):
        ends = prior_world(seed)._final
        near = np.mean([(ends[a] - ends[b]) ** 2 for a, b in steps])
        assert near < 0.5 * 2 * ends.var()


def test_worlds_without_the_sampler_say_what_would_do(worlds, monkeypatch):
    monkeypatch.setitem(sys.modules, "ifbo", None)
    monkeypatch.setitem(sys.modules, "ifbo.priors", None)
    with pytest.raises(ConfigError, match="pip install ifbo"):
        worlds.World(0, "prior").truth(worlds.SPACE[0])


def test_truth_is_that_of_the_recommended_round(benchmark, worlds):
    """The best candidate of a made world collapses at its end; nothing else comes near it."""
    world = worlds.World(2, "regular")
    best = max(worlds.SPACE, key=world.truth)
    row, horizon = worlds.SPACE.index(best), int(world._horizons[worlds.SPACE.index(best)])
    last = last_evaluated_round(horizon)
    rounds = np.array(worlds.EVALUATED)
    world._measured[:] = 0.5
    world._measured[row] = np.where(rounds < last, 0.9 - 0.5 / rounds, 0.1)
    world._truth[:] = 0.5
    world._truth[row] = np.where(np.arange(1, worlds.CAP + 1) < last, 0.85, 0.1)
    world.__dict__.pop("_final", None)
    made = benchmark.replay(STRATEGIES["grid"], world, 1.0)
    assert made["regret"] == pytest.approx(100 * (0.5 - 0.85))  # better than every finished run
    assert benchmark.peak_rounds({best: world.curve(best, last)}, {best: last}, 350) == {
        best: last_evaluated_round(last - 1)
    }


def test_runs_of_other_seeds_have_luck_of_their_own_about_the_same_truth(worlds, monkeypatch):
    monkeypatch.setattr(worlds, "RUN_LUCK", 0.03)
    candidate, ends = worlds.SPACE[100], []
    for seed in range(40):
        world = worlds.World(seed, "regular")
        assert world.again(1).truth(candidate) == world.truth(candidate)
        ends.append([
            (np.mean(whole(w, worlds, candidate).accuracies[-8:]) - world.truth(candidate))
            for w in (world, world.again(1))
        ])  # fmt: skip
    assert world.again(1).curve(candidate, 100) != world.curve(candidate, 100)
    assert abs(np.corrcoef(np.array(ends).T)[0, 1]) < 0.5
    assert 0.02 < np.std(ends) < 0.035


def test_a_forecast_is_judged_where_the_run_would_end(benchmark, worlds):
    world = worlds.World(2, "crossing")
    lasts = [last_evaluated_round(int(horizon)) for horizon in world._horizons]
    ends = np.array([
        benchmark.end_truth(world, c, last) for c, last in zip(worlds.SPACE, lasts, strict=True)
    ])  # fmt: skip
    best = np.array([row[:last].max() for row, last in zip(world._truth, lasts, strict=True)])
    fell = best - world._final > 0.1
    assert 15 <= fell.sum() <= 35
    assert (best - ends)[fell].max() < 0.06  # the noise of an evaluation sets the round
    assert (ends == world._final)[~fell].all()


def test_regret_is_nought_at_the_best(worlds):
    world = worlds.World(1, "ill")
    best = max(worlds.SPACE, key=world.truth)
    assert world.regret(best) == 0
    assert all(world.regret(c) >= 0 for c in worlds.SPACE)


def test_an_exhaustive_grid_is_close_to_the_best(benchmark, worlds):
    regrets = [
        benchmark.replay(STRATEGIES["grid"], worlds.World(seed, "regular"), 1.0)["regret"]
        for seed in range(3)
    ]
    assert np.mean(regrets) < 0.6


def test_a_replay_stays_within_its_effort_and_the_table_has_every_figure(benchmark, worlds):
    asked = benchmark.jobs(["halving", "random"], ["regular", "ill"], 2, [0.02])
    rows = [benchmark.played(job) for job in asked]
    assert len(rows) == 2 * 2 * 2
    assert all(0 < row["rounds"] <= 0.02 * worlds.GRID_ROUNDS for row in rows)
    made = benchmark.summary(rows)
    assert [(r["family"], r["strategy"]) for r in made] == [
        ("regular", "halving"), ("regular", "random"), ("ill", "halving"), ("ill", "random"),
    ]  # fmt: skip
    first = [row["regret"] for row in rows if row["family"] == "regular"][::2]
    assert made[0]["regret"] == pytest.approx(np.mean(first))
    assert made[0]["error"] == pytest.approx(abs(first[0] - first[1]) / 2)
    assert all(0 <= r["held"] <= 1 for r in made)
    assert all(0 <= r["own_held"] <= 1 for r in made)
    assert made[0]["bias"] == pytest.approx(np.mean([r["bias"] for r in rows[:4:2]]))
    assert 0 <= made[0]["forecasts_held"] <= 1
    assert made[0]["ends_held"] == made[0]["forecasts_held"]  # regular curves do not fall
    assert " | - | " in benchmark.table(made[1:2])  # random leaves nothing unfinished
    assert benchmark.table(made).count("\n") == 1 + len(made)


def test_an_effort_that_is_reserved_runs_finalists_again(benchmark, worlds):
    world = worlds.World(1, "regular")
    asked = []
    monitored = SimpleNamespace(
        **{k: getattr(world, k) for k in ("seed", "terms", "extend", "truth", "regret")},
        **{k: getattr(world, k) for k in ("examples", "longest")},
        again=lambda run: asked.append(run) or world.again(run),
    )
    row = benchmark.replay(STRATEGIES["random"], monitored, 0.1, again=True)
    assert 0.85 * 0.1 * worlds.GRID_ROUNDS < row["rounds"] <= 0.1 * worlds.GRID_ROUNDS
    assert set(asked) == {1, 2}  # two further seeds of each finalist
    assert asked.count(2) <= asked.count(1)


def test_another_cell_has_the_same_runs_and_other_horizons(worlds):
    world = worlds.World(1, "ill")
    candidate = worlds.Candidate(16, 1.0, 0.25)
    ends = []
    for cell in (worlds.Cell(10, 16), worlds.Cell(50, 16), worlds.Cell(50, 1)):
        there = world.within(cell)
        shown, same = there.curve(candidate, 100), world.curve(candidate, 100)
        assert (shown.evaluated, shown.accuracies) == (same.evaluated, same.accuracies)
        assert shown.horizon == pytest.approx(there.terms(1.0)["horizons"][candidate], rel=0.2)
        ends.append(shown.horizon)
    ten, fifty, fast = ends
    assert fifty == pytest.approx(5 * ten, abs=5)
    assert fast < fifty  # an upload weighs less there, and the budget is smaller


def test_one_search_answers_every_cell(cells, worlds):
    world = worlds.World(1, "regular")
    history = cells.searched(world)
    rows = [cells.answered(history, world.within(cell)) for cell in cells.CELLS[:2]]
    assert [row["dense_rounds"] for row in rows] == [10, 20]
    assert all(0 <= row["regret"] < 5 for row in rows)
    assert all(0 <= row["forecasts_held"] <= row["forecasts"] < 245 for row in rows)
    told = [{"family": "regular", "seed": 1} | row for row in rows]
    lines = list(cells.summary(told))
    assert [line["cell"] for line in lines] == [
        "10 dense rounds, ratio 16", "20 dense rounds, ratio 16", "**all**",
    ]  # fmt: skip


def test_a_rise_of_regret_is_paired_with_the_best_smaller_effort(
    benchmark, monkeypatch: pytest.MonkeyPatch
):
    efforts = load("efforts", monkeypatch)
    regrets = {100: (3.0, 5.0), 200: (1.0, 2.0), 400: (2.0, 2.0)}
    rows = [
        {"family": "ill", "effort": e, "grid": 1000, "seed": s, "rounds": e / 2, "regret": r}
        for e, both in regrets.items()
        for s, r in enumerate(both)
    ]
    first, second, third = efforts.summary(rows)
    assert (first["regret"], first["error"], first["rise"]) == (4.0, 1.0, 0.0)
    assert (second["rise"], second["rise_error"]) == (-2.5, 0.5)
    assert (third["rise"], third["rise_error"]) == (0.5, 0.5)
    assert (third["share"], third["used"], third["worst"]) == (0.4, 0.5, 2.0)


def test_efforts_go_from_a_quarter_of_a_run_to_the_grid(benchmark, monkeypatch: pytest.MonkeyPatch):
    efforts = load("efforts", monkeypatch)
    made = efforts.efforts("regular")
    assert (made[0], made[-1], len(made)) == (100, benchmark.WORLDS["regular"](0).grid_rounds, 20)
    assert np.allclose(np.diff(np.log(made)), np.log(made[-1] / made[0]) / 19, atol=0.01)
