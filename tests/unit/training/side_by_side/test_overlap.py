"""A device that computes beside the processor: runs go on meanwhile, and are measured together.

There is one of these lines for all devices: what a GPU does is done by this CPU.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from parties import CPU, OVERLAPPING, WHOLE, assert_equal_records, party_of, play, tiny_parties
from tiny_models import CASES, NEXT_TOKEN, TEXTS, TinyRun, examples, tiny_model

from floss_sim import RunConfig, floss, load_task
from floss_sim.training import memory_bounds
from floss_sim.training.bank.batched_sgd import Party, train_side_by_side
from floss_sim.training.bank.model import build_bank, build_bank_model
from floss_sim.training.bank.onednn import _has_product
from floss_sim.training.evaluation import measure
from floss_sim.training.side_by_side import limits, pass_jobs
from floss_sim.training.side_by_side.bit_checks import BitChecks
from floss_sim.training.side_by_side.limits import DeviceLimits, limits_of
from floss_sim.training.side_by_side.measuring import EvaluationInput, measure_side_by_side
from floss_sim.training.side_by_side.scheduler import PassScheduler, device_scheduler
from planner.execution.curve_store import CurveStore
from planner.execution.workers import _extend_all

pytestmark = pytest.mark.skipif(not _has_product(), reason="bits are not promised here")
WIDE = replace(OVERLAPPING, max_clients=512)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("device_limits", "goes_on"),
    [(OVERLAPPING, True), (replace(OVERLAPPING, overlaps_host=False), False)],
)
def test_a_run_goes_on_while_the_next_pass_is_on_the_device(
    device_limits: DeviceLimits, goes_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parties, passes = tiny_parties(tmp_path), []
    went_on, seen = threading.Event(), []

    def on_the_device(chosen: Sequence[Party]):
        passes.append(chosen)
        if len(passes) == 2:
            seen.append(went_on.wait(20 if goes_on else 0.5))
        return train_side_by_side(chosen)

    monkeypatch.setattr(pass_jobs, "train_side_by_side", on_the_device)
    grid = PassScheduler(CPU, device_limits)

    def run(party: Party) -> None:
        grid.train(party, 2)  # a pass each
        went_on.set()

    play(grid, [lambda party=party: run(party) for party in parties])
    assert seen == [goes_on]


def test_who_shares_a_pass_does_not_depend_on_who_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = tiny_parties(tmp_path)[0].model.bank
    run = TinyRun(tmp_path, "image-classification")
    parties = [party_of(replace(run, rank=rank), first, (4, 3)) for rank in (1, 2, 3, 4, 5)]
    passes: list[tuple[int, ...]] = []

    def noted(chosen: Sequence[Party]):
        passes.append(tuple(parties.index(party) for party in chosen))
        return train_side_by_side(chosen)

    monkeypatch.setattr(pass_jobs, "train_side_by_side", noted)
    grid, draw = PassScheduler(CPU, replace(OVERLAPPING, max_clients=4)), np.random.default_rng(0)
    waits_s = draw.uniform(0, 0.03, size=(len(parties), 6))

    def run_on(number: int) -> None:
        for wait_s in waits_s[number]:
            grid.train(parties[number], 32)
            time.sleep(wait_s)

    play(grid, [lambda n=n: run_on(n) for n in range(len(parties))])
    together = [chosen for chosen in passes if len(chosen) > 1]
    assert len(set(together)) == 2  # pairs of five
    assert len(together) == 12  # in each of six rounds, a proof or a shared pass
    assert len(passes) == 12 + 4 + 6  # proofs are computed alone, too; the fifth always is


def questions_of(
    folder: Path, family: str, kind: str, trains: str = "lora"
) -> list[EvaluationInput]:
    tiny_model(family, **WHOLE[family]).save_pretrained(folder)
    first = TinyRun(folder, kind, trains=trains, dropout=0.5)
    bank = build_bank(first, CPU)
    bank.inputs = replace(bank.inputs, rows=4)  # two batches, the last partial
    asked = []
    for rank in (2, 5, 1):
        run = replace(first, rank=rank)
        model = build_bank_model(run, CPU, bank)
        vector_N = np.random.default_rng(rank).normal(scale=0.1, size=model.layout.entries)
        asked.append(EvaluationInput(model, vector_N.astype(np.float32), *examples(kind)))
    return asked


@pytest.mark.parametrize(
    ("family", "kind", "trains"),
    [(*case, "lora") for case in CASES] + [("vit", CASES[0][1], "bitfit"), ("bert", TEXTS, "ffa")],
)
def test_runs_measured_together_read_what_each_reads_alone(
    family: str, kind: str, trains: str, tmp_path: Path
):
    asked = questions_of(tmp_path, family, kind, trains)
    alone = [measure(q.model, q.vector, q.x, q.y) for q in asked]
    for chosen in ((0,), (1, 0), (2, 0, 1)):
        asked[0].model.set_training(True)  # as a pass leaves it
        together = measure_side_by_side([asked[i] for i in chosen])
        assert [reading[:2] for reading in together] == [alone[i] for i in chosen]
        apart = [measure_side_by_side([asked[i]])[0] for i in chosen]
        assert together == apart  # the logits' bits, too
    assert len({reading.logits for reading in together}) == 3


def test_a_reading_tells_of_a_bit_that_its_metrics_hide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (question, *_) = questions_of(tmp_path, "vit", CASES[0][1])
    before = measure_side_by_side([question])[0]
    bank, outputs = question.model.bank, question.model.bank.outputs

    def shifted(*said):
        logits, targets = outputs(*said)
        logits[0, 0] = torch.nextafter(logits[0, 0], torch.tensor(torch.inf))
        logits[1, 0] = torch.nextafter(logits[1, 0], torch.tensor(-torch.inf))
        return logits, targets

    monkeypatch.setattr(bank, "outputs", shifted)
    assert measure_side_by_side([question])[0].logits != before.logits


@pytest.mark.parametrize("device_limits", [OVERLAPPING, limits_of("cpu")])
def test_what_is_measured_goes_first_and_who_trains_waits_for_it(
    device_limits: DeviceLimits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parties, done = tiny_parties(tmp_path), []
    vector_N = np.zeros(parties[0].model.layout.entries, np.float32)
    monkeypatch.setattr(
        pass_jobs, "train_side_by_side", noted_as("trained", done, train_side_by_side)
    )
    monkeypatch.setattr(
        pass_jobs, "measure_side_by_side", noted_as("measured", done, measure_side_by_side)
    )
    grid, found = PassScheduler(CPU, device_limits), []

    def run(number: int) -> None:
        if number:
            question = EvaluationInput(
                parties[number].model, vector_N, parties[number].x, parties[0].y
            )
            found.append(grid.measure(question, 4, 32))
        grid.train(parties[number], 32)

    play(grid, [lambda n=n: run(n) for n in range(3)])
    proof_of_two, proof_of_three = [2, 1, 1], [3, 1, 1, 1]
    measured = [("measured", n) for n in proof_of_two] if device_limits.overlaps_host else []
    assert done == measured + [("trained", n) for n in proof_of_three]
    alone = measure(parties[1].model, vector_N, parties[1].x, parties[0].y)
    assert found == [alone] * 2


def noted_as(name: str, done: list[tuple[str, int]], compute):
    def noted(chosen):
        done.append((name, len(chosen)))
        return compute(chosen)

    return noted


def test_a_shape_is_of_sizes_and_layout_and_of_no_value(tmp_path: Path):
    one, other, _ = tiny_parties(tmp_path)
    run = TinyRun(tmp_path, CASES[0][1])
    wider, longer = (
        party_of(replace(run, rank=rank), one.model.bank, sizes)
        for rank, sizes in ((3, (4, 3)), (2, (4, 3, 3)))
    )
    shapes = [pass_jobs.TrainingJob(32, party).shape for party in (one, other, wider, longer)]
    assert shapes[0] == shapes[1]
    assert len(set(shapes)) == 3


def test_the_shape_of_texts_has_the_tokens_of_each_step(tmp_path: Path):
    party = tiny_parties(tmp_path, TEXTS)[0]
    party = replace(party, works=[replace(party.works[0], batches=(np.arange(3), np.arange(3, 7)))])

    def lengths(*tokens: int) -> object:
        x = torch.full((7, 9), -1, dtype=torch.int32)
        for row, count in enumerate(tokens):
            x[row, :count] = 1
        return pass_jobs.TrainingJob(32, replace(party, x=x)).shape

    assert lengths(1, 5, 2, 3, 3, 3, 3) == lengths(5, 5, 5, 1, 2, 1, 3)
    assert lengths(1, 5, 2, 3, 3, 3, 3) != lengths(3, 3, 2, 3, 3, 3, 5)


def test_splits_of_other_lengths_are_not_measured_together(tmp_path: Path):
    asked = questions_of(tmp_path, "gpt2", NEXT_TOKEN)
    asked[1] = replace(asked[1], x=asked[1].x[:, :3])
    measuring = [pass_jobs.EvaluationJob(32, question, 4) for question in asked]
    passes = BitChecks(OVERLAPPING).passes(measuring)
    found = [sorted(measuring.index(job) for job in part) for part in passes]
    assert found == [[0, 2], [1]]


def test_sixteen_runs_in_a_process_have_the_records_of_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    alone, grid = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "grid", "cpu")
    monkeypatch.setitem(
        memory_bounds.MAX_CLIENTS, "cpu", 128
    )  # clients: five runs' validation splits
    task, method = load_task("digits"), floss(1 / 4, 1 / 16)
    configs = [
        RunConfig.of(task, method, rank=rank, seed=seed) for seed in (0, 1) for rank in range(1, 9)
    ]
    for config in configs:
        alone.extend(config, 3)
    sizes: list[tuple[str, int]] = []
    monkeypatch.setattr(
        pass_jobs, "train_side_by_side", noted_as("trained", sizes, train_side_by_side)
    )
    monkeypatch.setattr(
        pass_jobs, "measure_side_by_side", noted_as("measured", sizes, measure_side_by_side)
    )
    monkeypatch.setitem(limits._LIMITS, "cpu", WIDE)
    device_scheduler.cache_clear()
    assert _extend_all(grid, [(config, 3) for config in configs]) == [3] * 16
    device_scheduler.cache_clear()
    assert {max(n for name, n in sizes if name == kind) for kind in ("trained", "measured")} == {
        16, 5,
    }  # fmt: skip
    for config in configs:
        assert_equal_records(alone, grid, config)
