"""The touched share of a method beside simulated uploads."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim import RunConfig, load_profile, load_task, method_from_name, open_learner, run
from floss_sim.analysis.traffic import Traffic
from floss_sim.methods import WAYS, SizePredictor
from floss_sim.methods.touched_by_uploads import touched_unit

COHORT, ROUNDS = 3, 10


def sizes(name: str, **options) -> SizePredictor:
    config = RunConfig.of(load_task("digits"), method_from_name(name, **options), rank=8)
    return SizePredictor(config.method, config.layout, COHORT)


def simulated(entries: int, drawn: int, uploads: int, seed: int = 0) -> float:
    draw = np.random.default_rng(seed)
    touched_N = np.zeros(entries, dtype=bool)
    for _ in range(uploads):
        touched_N[draw.permutation(entries)[:drawn]] = True
    return float(touched_N.mean())


@pytest.mark.parametrize("version", [1, 2, 10])
def test_directions_are_touched_as_draws_of_the_steps_are(version: int):
    made = sizes("fedkseed", seeds=2048, steps=100)
    count = made.message("down", 0, version)[1]
    real = 2048 * simulated(2048, 100, COHORT * version)
    assert count == pytest.approx(real, rel=0.03)
    assert made.messages("down", 0, version + 1, version + 1)[1].tolist() == [count]


@pytest.mark.parametrize(
    ("name", "options", "drawn", "of"),
    [
        ("fslora", {"density": 1 / 4}, 2, 8),
        ("floss", {"pick": "random", "up_density": 1 / 8}, 100, 800),
    ],
)
def test_what_is_drawn_is_touched_as_by_simulated_draws(
    name: str, options: dict, drawn: int, of: int
):
    made = sizes(name, **options)
    for version in (1, 3):
        real = np.mean([simulated(of, drawn, COHORT * version, seed) for seed in range(100)])
        assert made.touched_share(version) == pytest.approx(real, abs=0.02)


@pytest.mark.parametrize("name", ["rolora", "hetlora", "freezing", "fedsvd", "flexlora", "flora"])
def test_whole_uploads_touch_everything_at_once(name: str):
    made = sizes(name)
    assert [made.touched_share(version) for version in (0, 1, 5)] == [0, 1, 1]


def test_only_turns_of_b_touch_b():
    made = sizes("rolora", up_density=1 / 8)
    shares = [made.touched_share(version) for version in range(6)]
    assert 0 == shares[0] < shares[1] == shares[2] < shares[3] == shares[4] < shares[5] < 1


def test_a_random_part_of_the_servers_step_touches_as_often_as_b_has_its_turn():
    made = sizes("fedsrd", down_density=1 / 4)
    assert [made.touched_share(v) for v in (1, 2, 3)] == pytest.approx(
        [1 / 4, 1 / 4, 7 / 16], abs=0.003
    )


@pytest.mark.parametrize(("segments", "share"), [(3, 1), (6, 1 / 2)])
def test_a_round_touches_as_many_segments_as_it_has_uploads(segments: int, share: float):
    made = sizes("ecolora", segments=segments)
    assert made.touched_share(1) == pytest.approx(share)
    assert made.touched_share(60) == pytest.approx(1, abs=2e-3)


def test_ranks_are_touched_like_entries_of_a_layout_of_their_own():
    made = sizes("lora-a2", up_density=1 / 4)
    shares = [made.touched_share(version) for version in (0, 1, 2, 3, 41, 400)]
    assert shares == sorted(shares)
    assert shares[0] == 0 < 1 / 4 < shares[1] < shares[-1] < 1
    half = sizes("lora-a2", up_density=1 / 2)
    assert half.touched_share(9) > made.touched_share(9)


def test_only_whole_ranks_are_told_apart_as_rows():
    units = {
        name: touched_unit(made.method, made.layout)
        for name, made in (
            (name, sizes(name)) for name in ("lora-a2", "fslora", "rolora", "bitfit")
        )
    }
    assert units == {"lora-a2": 64, "fslora": 64, "rolora": 1, "bitfit": 1}


def test_a_run_of_lora_a2_that_no_fit_has_seen_is_within_the_stated_error():
    """Of a rank, a density and a seed beside the recorded ones."""
    method = method_from_name("lora-a2", up_density=1 / 3)
    config = RunConfig.of(load_task("digits"), method, rank=8, seed=5)
    learner = open_learner(config, "cpu")
    real = Traffic.of(run(config, load_profile("paper-200-20"), learner, rounds=ROUNDS))
    for way in WAYS:
        predicted = config.sizes.messages(way, 0, 1, ROUNDS)[0].mean()
        assert getattr(real, way).mean() == pytest.approx(
            predicted, rel=config.sizes.error(way, ROUNDS)
        )
        assert config.sizes.error(way, ROUNDS) < 0.2
