"""Which jobs share a pass on a GPU: the shape of a pass decides, and checks are paid for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from parties import party_of, same, tiny_parties, trained_side_by_side, values_of
from small_jobs import ALONE, BOTH, TOGETHER, Play, Small, passes
from tiny_models import IMAGES, TEXTS, TinyRun

from floss_sim.training.bank.onednn import _has_product
from floss_sim.training.gpu.shape_checks import ShapeChecks
from floss_sim.training.side_by_side import bit_checks
from floss_sim.training.side_by_side.training_job import TrainingJob


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setattr(ShapeChecks, "shape", lambda self, job: (job.rows,))
    return Play(ShapeChecks(8), monkeypatch)


def test_a_shape_is_checked_once_and_shared_from_then_on(play: Play):
    assert [play.pair(rows) for rows in (5, 5, 5, 6, 5, 6)] == [
        BOTH, TOGETHER, TOGETHER, BOTH, TOGETHER, TOGETHER,
    ]  # fmt: skip
    assert play.results == [0, 6]


def test_the_order_of_runs_makes_no_shape(play: Play):
    one, other = Small(5, play.bank), Small(7, play.bank)
    for jobs in ([one, other], [other, one]):
        for part in play.checks.passes(jobs):
            play.checks.results(part, [Path()] * 2)
    assert passes == [*BOTH, *TOGETHER]


def test_shapes_that_never_come_back_cost_no_more_than_three_checks(play: Play):
    ways = [play.pair(rows) for rows in range(1, 200)]
    assert ways == [BOTH] * 3 + [ALONE] * 196
    assert play.pair(100) == BOTH  # the second time
    assert play.pair(100) == TOGETHER


def test_what_is_shared_pays_for_checks(play: Play):
    for _ in range(6):
        play.pair(1)  # a check, and five that pay for as many
    assert [play.pair(rows) for rows in range(2, 11)] == [BOTH] * 7 + [ALONE] * 2


def test_in_bf16_a_shape_is_checked_three_times(play: Play):
    play.bank = replace(play.bank, bf16=True)
    assert [play.pair(5) for _ in range(5)] == [BOTH] * 3 + [TOGETHER] * 2


def test_a_shape_that_shifts_a_bit_is_computed_one_by_one_and_others_share(play: Play):
    assert [play.pair(5, shifted=1), play.pair(5), play.pair(5)] == [BOTH, ALONE, ALONE]
    assert play.results == [0, 5]
    assert [play.pair(6), play.pair(6)] == [BOTH, TOGETHER]
    assert play.pair(7, shifted=1) == BOTH
    why = "batching changes the last bits of a result for some shapes of a pass"
    assert play.said == [f"{why}: these runs train one at a time"]


def test_a_repeated_check_that_differs_stops_all_shapes_and_makes_them_doubtful(play: Play):
    for _ in range(bit_checks._RECHECK_EVERY - 2):
        play.pair(5)
    play.pair(6, folders=("c", "d"))
    play.pair(6, folders=("c", "d"), round=9)
    assert play.pair(5) == TOGETHER
    assert play.pair(5, shifted=1) == BOTH
    assert [play.pair(5), play.pair(6)] == [ALONE] * 2
    doubts = {(str(folder), first) for folder, first, _ in play.checks.take_doubts()}
    assert doubts == {("a", 1), ("b", 1), ("c", 9), ("d", 9)}


def job_of(party) -> TrainingJob:
    return TrainingJob(party, 1, 32, lambda values: None, lambda: None)


def test_a_shape_is_of_sizes_and_layout_and_of_no_value(tmp_path: Path):
    one, other, _ = tiny_parties(tmp_path)
    run = TinyRun(tmp_path, IMAGES)
    wider, longer = (
        party_of(replace(run, rank=rank), one.model.bank, sizes)
        for rank, sizes in ((3, (4, 3)), (2, (4, 3, 3)))
    )
    checks = ShapeChecks(32)
    shapes = [checks.shape(job_of(party)) for party in (one, other, wider, longer)]
    assert shapes[0] == shapes[1]
    assert len(set(shapes)) == 3


def test_the_shape_of_texts_has_the_tokens_of_each_step(tmp_path: Path):
    party = tiny_parties(tmp_path, TEXTS)[0]
    party = replace(party, works=[replace(party.works[0], batches=(np.arange(3), np.arange(3, 7)))])

    def lengths(*tokens: int) -> object:
        x = torch.full((7, 9), -1, dtype=torch.int32)
        for row, count in enumerate(tokens):
            x[row, :count] = 1
        return ShapeChecks(32).shape(job_of(replace(party, x=x)))

    assert lengths(1, 5, 2, 3, 3, 3, 3) == lengths(5, 5, 5, 1, 2, 1, 3)
    assert lengths(1, 5, 2, 3, 3, 3, 3) != lengths(3, 3, 2, 3, 3, 3, 5)


@pytest.mark.skipif(not _has_product(), reason="bits are not promised here")
def test_parties_that_share_passes_by_shape_come_to_what_each_comes_to_alone(tmp_path: Path):
    parties = tiny_parties(tmp_path)
    alone = [values_of([party])[0] for party in parties]
    assert all(map(same, trained_side_by_side(parties, ShapeChecks(64), rounds=3), alone))
