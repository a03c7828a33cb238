"""Parties of tiny runs, and what they come to together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tiny_models import IMAGES, NEXT_TOKEN, TEXTS, TinyRun, examples, tiny_model

from floss_sim import RunConfig
from floss_sim.training.bank.batched_sgd import Party, train_together
from floss_sim.training.bank.model import Bank, build_bank, build_bank_model
from floss_sim.training.local_sgd import work_of
from floss_sim.training.side_by_side.bit_checks import BitChecks
from floss_sim.training.side_by_side.stepping import SideBySide
from floss_sim.training.side_by_side.training_job import TrainingJob
from planner.execution.curve_store import CurveStore

CPU = torch.device("cpu")
SIZES = (9, 7, 7, 4, 2)
WIDTHS = {"hidden_size": 32, "intermediate_size": 64}
WHOLE = {"vit": WIDTHS, "bert": WIDTHS, "llama": WIDTHS, "gpt2": {"n_embd": 32}}


def party_of(run: TinyRun, bank: Bank, sizes: Sequence[int] = SIZES) -> Party:
    """Return clients of a run with so many examples, from values that differ from run to run."""
    draw = np.random.default_rng([run.seed, run.rank])
    x, y = examples(run.kind, sum(SIZES))
    model = build_bank_model(run, CPU, bank)
    shuffled = draw.permutation(sum(SIZES))
    parts = np.split(shuffled, np.cumsum(sizes))[: len(sizes)]
    works = []
    for client, part in enumerate(parts):
        start_N = draw.normal(scale=0.05, size=run.layout.entries).astype(np.float32)
        mask_N = draw.random(run.layout.entries) < 0.5 if client == run.seed else None
        names = ("client", client, "dispatch", 7)
        works.append(work_of(start_N, mask_N, part, x, bank.inputs, run.client, run.seed, names))
    return Party(model, x, y, run.client, sorted(works, key=lambda work: -len(work.batches)))


def same(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


def assert_equal_records(one: CurveStore, other: CurveStore, config: RunConfig) -> None:
    ours, theirs = one.folder(config), other.folder(config)
    assert ours.record().rounds.equals(theirs.record().rounds)
    assert ours.record().transfers.equals(theirs.record().transfers)
    last = ours.manifest().rounds
    assert last > 0
    assert ours.model(last) == theirs.model(last)


def values_of(parties: Sequence[Party]) -> list[list[np.ndarray]]:
    """Return what the clients of each party come to in one pass."""
    return [list(values_CN.cpu().numpy()) for values_CN in train_together(parties)]


def trained_side_by_side(
    parties: Sequence[Party], checks: BitChecks | None = None, rounds: int = 1
) -> list[object]:
    """Return what each party gets in the last of so many rounds beside the others, or its error."""

    def steps(party: Party, clock: object) -> Iterator[TrainingJob]:
        found: list[torch.Tensor] = []
        for number in range(1, rounds + 1):
            yield TrainingJob(party, number, 32, found.append, lambda: None)
        return list(found[-1].numpy())

    loop = SideBySide(checks or BitChecks(24), lambda config: None)
    return loop.finish([(Path(str(n)), partial(steps, p)) for n, p in enumerate(parties)])


def tiny_parties(tmp_path: Path, kind: str = IMAGES, whole: bool = True) -> list[Party]:
    family = {IMAGES: "vit", TEXTS: "bert", NEXT_TOKEN: "gpt2"}[kind]
    tiny_model(family, **(WHOLE[family] if whole else {})).save_pretrained(tmp_path)
    run = TinyRun(tmp_path, kind)
    bank = build_bank(run, CPU)
    return [party_of(replace(run, seed=seed), bank, (4, 3)) for seed in range(3)]
