"""Replayed steps: the bits of eager ones, and eager ones where anything is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_cuda_graph import Tape, TapeRecorder, UnrecordableError
from parties import values_of
from tiny_models import CASES, IMAGES, NEXT_TOKEN, TEXTS, TinyRun, examples, tiny_model

from floss_sim import RunConfig, floss, load_task, open_learner, run
from floss_sim.network import NetworkProfile
from floss_sim.training.bank import model as bank_model
from floss_sim.training.bank.batched_sgd import (
    Party,
    _length_groups,
    _step,
    _Training,
)
from floss_sim.training.bank.model import Bank, build_bank, build_bank_model
from floss_sim.training.gpu import cuda_graphs
from floss_sim.training.gpu.cuda_graphs import Graphs, StepGraphs, graphs_of
from floss_sim.training.gpu.recordable_step import RecordableStep
from floss_sim.training.local_sgd import Work, work_of
from floss_sim.training.memory_bounds import example_bytes

CPU, META = torch.device("cpu"), torch.device("meta")
EXAMPLES, MANY = 29, 10**6
SIZES = (9, 7, 7, 4, 2)  # batches of 4: steps of 4, 4, 4, 4, 2 and of 4, 3, 3 and of 1
Values = list[list[np.ndarray]]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def party_of(run: TinyRun, bank: Bank, seed: int = 0, sizes: Sequence[int] = SIZES) -> Party:
    """Return clients of so many examples, drawn anew for each seed; one trains under a mask."""
    draw, (x, y) = np.random.default_rng([seed, run.rank]), examples(run.kind, EXAMPLES)
    parts = np.split(draw.permutation(EXAMPLES), np.cumsum(sizes))[: len(sizes)]
    works = []
    for client, part in enumerate(parts):
        start_N = draw.normal(scale=0.05, size=run.layout.entries).astype(np.float32)
        mask_N = draw.random(run.layout.entries) < 0.5 if client == 0 and run.rank == 2 else None
        names = ("client", client, "dispatch", seed)
        works.append(work_of(start_N, mask_N, part, x, bank.inputs, run.client, run.seed, names))
    model = build_bank_model(run, CPU, bank)
    return Party(model, x, y, run.client, sorted(works, key=lambda work: -len(work.batches)))


def tiny(folder: Path, family: str = "vit", kind: str = IMAGES, **chosen) -> tuple[TinyRun, Bank]:
    tiny_model(family).save_pretrained(folder)
    run = TinyRun(folder, kind, **chosen)
    return run, build_bank(run, CPU)


def both(
    bank: Bank, rounds: Sequence[Sequence[Party]], replaying: Graphs
) -> tuple[list[Values], list[Values]]:
    """Return what the parties of each round come to by replay, and without."""
    found = []
    for bank.player in (replaying, None):
        found.append([values_of(parties) for parties in rounds])
    return found[0], found[1]


def assert_same(ours: Sequence[Values], theirs: Sequence[Values]) -> None:
    flat = [[v for values in every for vs in values for v in vs] for every in (ours, theirs)]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*flat, strict=True))


@pytest.mark.parametrize("full", [False, True], ids=["ragged", "full"])
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_replayed_steps_have_the_bits_of_eager_ones(
    family: str, kind: str, full: bool, tmp_path: Path
):
    """Ragged clients, several runs, masks, a frozen A of other seeds, batches without padding."""
    run, bank = tiny(tmp_path, family, kind)
    frozen = replace(run, rank=3, trains="ffa")
    rounds = []
    for seed in range(6):
        parties = [party_of(one, bank, seed) for one in (run, replace(frozen, seed=seed))]
        if full and kind != IMAGES:
            parties = [replace(p, x=p.x.where(p.x >= 0, p.x.new_tensor(3))) for p in parties]
        rounds.append(parties if seed % 2 else parties[::-1])
    if not full and kind != IMAGES:  # other texts are longer or shorter: these come back
        rounds = [rounds[seed] for seed in (0, 1) for _ in range(5)]
    recorder = TapeRecorder()
    replaying = StepGraphs(recorder, MANY)
    ours, theirs = both(bank, rounds, replaying)
    assert_same(ours, theirs)
    assert replaying.replayed >= 6
    assert replaying.steps >= 3 * len(rounds)
    assert recorder.tapes


@pytest.mark.parametrize("kind", [TEXTS, NEXT_TOKEN])
def test_a_backbone_that_is_to_keep_no_keys_is_replayed_too(kind: str, tmp_path: Path):
    model = tiny_model("llama")
    model.config.use_cache = False
    model.save_pretrained(tmp_path)
    run, replaying = TinyRun(tmp_path, kind), StepGraphs(TapeRecorder(), MANY)
    bank, rounds = build_bank(run, CPU, replaying), []
    for seed in range(6):
        party = party_of(run, bank, seed)
        rounds.append([replace(party, x=party.x.where(party.x >= 0, party.x.new_tensor(3)))])
    assert_same(*both(bank, rounds, replaying))
    assert replaying.replayed == 2 * 3


@pytest.mark.parametrize("chosen", [{"precision": "bf16"}, {"trains": "head"}, {"momentum": 0.0}])
def test_precision_heads_and_plain_sgd_are_replayed_too(chosen: dict, tmp_path: Path):
    momentum = chosen.pop("momentum", 0.9)
    run, bank = tiny(tmp_path, **chosen)
    settings = run.client.model_copy(update={"momentum": momentum})
    rounds = [[replace(party_of(run, bank, n), settings=settings)] for n in range(6)]
    replaying = StepGraphs(TapeRecorder(), MANY)
    assert_same(*both(bank, rounds, replaying))
    assert replaying.replayed == 2 * 3


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_step_gives_nothing_to_the_device_and_asks_it_nothing(
    family: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With its tensors on another device, whatever comes from the host is seen."""
    monkeypatch.setattr(bank_model, "use_onednn", lambda *_: None)  # as on a GPU
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # does not know meta
    run, bank = tiny(tmp_path, family, kind)
    bank.player = StepGraphs(TapeRecorder(), MANY)
    parties = [party_of(one, bank) for one in (run, replace(run, rank=3, trains="ffa"))]
    passes = _length_groups([_Training(party).take(0) for party in parties])
    for tokens, takes in passes:
        step = RecordableStep(_step(takes, tokens))
        bank.model.to(META)
        tape = TapeRecorder()
        tape.record(step.with_tensors([tensor.to(META) for tensor in step.tensors]).run)
        assert len(tape.tapes[0].operations) > 100


def test_the_tape_refuses_what_a_graph_cannot_hold():
    x = torch.arange(4.0)
    for play in (
        lambda: x.max().item(),
        lambda: x[x > 1],
        lambda: bool(x.any()),
        lambda: torch.tensor([1.0, 2.0]),
        lambda: x.repeat_interleave(torch.ones(4, dtype=torch.int64)),
        lambda: x.to(META) + x,
    ):
        with pytest.raises(UnrecordableError), Tape():
            play()


def test_runs_that_come_in_another_order_are_of_the_same_shape(tmp_path: Path):
    run, bank = tiny(tmp_path)
    ranks = [replace(run, rank=rank) for rank in (1, 2, 3)]
    orders = [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0), (0, 2, 1)]
    rounds = [
        [party_of(ranks[i], bank, seed, (4, 4)) for i in order] for seed, order in enumerate(orders)
    ]
    recorder = TapeRecorder()
    replaying = StepGraphs(recorder, MANY)
    assert_same(*both(bank, rounds, replaying))
    assert len(recorder.tapes) == 1
    assert replaying.replayed == 1


def test_shapes_that_change_and_return_are_recorded_once_and_oneoffs_never(tmp_path: Path):
    run, bank = tiny(tmp_path)
    ways = [(4, 4), (4, 3)] * 6
    ways[2:2] = [(4, 2), (4, 1), (3, 2), (3, 1)]
    recorder = TapeRecorder()
    replaying = StepGraphs(recorder, MANY)
    rounds = [[party_of(run, bank, seed, sizes)] for seed, sizes in enumerate(ways)]
    assert_same(*both(bank, rounds, replaying))
    assert len(recorder.tapes) == 2
    assert replaying.replayed == 2 * (6 - 3 - 1)


def test_a_shape_that_was_dropped_must_come_back_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cuda_graphs, "_MAX_RECORDINGS", 1)
    run, bank = tiny(tmp_path)
    ways = [(4, 4)] * 5 + [(4, 3)] * 5 + [(4, 4)] * 5
    recorder = TapeRecorder()
    replaying = StepGraphs(recorder, MANY)
    rounds = [[party_of(run, bank, seed, sizes)] for seed, sizes in enumerate(ways)]
    assert_same(*both(bank, rounds, replaying))
    assert len(recorder.tapes) == 3
    assert replaying.replayed == 3
    assert len(replaying._recordings) == 1


def test_other_settings_are_another_shape(tmp_path: Path):
    """Rates and scales stand in a recording as numbers, and a mask is there or is not."""
    run, bank = tiny(tmp_path)

    def others(party: Party) -> Iterator[Party]:
        yield party
        for name in ("learning_rate", "momentum"):
            yield replace(party, settings=party.settings.model_copy(update={name: 0.5}))
        scaled = copy(party.model)
        scaled.scale = 3.0
        yield replace(party, model=scaled)
        yield replace(party, works=[replace(work, trained=None) for work in party.works])

    rounds = [[one] for seed in range(5) for one in others(party_of(run, bank, seed, (8, 8)))]
    replaying = StepGraphs(TapeRecorder(), MANY)
    ours, theirs = both(bank, rounds, replaying)
    assert_same(ours, theirs)
    assert replaying.replayed == 5 * (2 * 5 - 4)
    assert len({values[0][0].tobytes() for values in ours[-5:]}) == 5


@dataclass
class Adds:
    """A step that adds what it is given to its state."""

    value: torch.Tensor
    summand: torch.Tensor
    examples: int = 1
    shape: object = "sum"
    runs: list[str] = field(default_factory=list)

    @property
    def tensors(self) -> list[torch.Tensor]:
        return [self.value, self.summand]

    @property
    def state(self) -> list[torch.Tensor]:
        return [self.value]

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> Adds:
        return replace(self, value=tensors[0], summand=tensors[1])

    def run(self) -> None:
        self.runs.append("run")
        self.value.add_(self.summand)


def steps(graphs: Graphs, count: int) -> Iterator[float]:
    """Take steps of one shape from 10; yield what each comes to beyond what was to be added."""
    for number in range(count):
        step = Adds(torch.tensor([10.0]), torch.tensor([float(number)]))
        graphs.run(step)
        yield step.value.item() - number


class Closures:
    """Plays the call again; ``wrong`` is done after each replay."""

    def __init__(self, wrong: Callable[[Adds, int], None] | None = None) -> None:
        self.recorded = self.replays = 0
        self.wrong = wrong

    def record(self, play: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        play()  # what is recorded may be spoilt by it

        def replay() -> None:
            play()
            self.replays += 1
            if self.wrong:
                self.wrong(play.__self__, self.replays)

        return replay


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(warnings, "warn", lambda text, *_, **__: texts.append(text))
    return texts


def test_a_familiar_step_is_computed_both_ways_once_then_replayed(said: list[str]):
    recorder = Closures()
    replaying = Graphs(recorder, MANY)
    assert list(steps(replaying, 8)) == [10] * 8
    assert (recorder.recorded, recorder.replays) == (1, 5)
    assert (replaying.steps, replaying.replayed) == (8, 4)
    assert said == []


def test_a_replay_that_is_wrong_in_a_bit_is_found_out_and_never_given(said: list[str]):
    def off(step: Adds, _: int) -> None:
        step.value.copy_(torch.nextafter(step.value, torch.tensor(np.inf)))

    recorder = Closures(off)
    replaying = Graphs(recorder, MANY)
    assert list(steps(replaying, 9)) == [10] * 9
    assert (recorder.recorded, recorder.replays, replaying.replayed) == (1, 1, 0)
    (text,) = said
    assert "differs from the same step computed directly" in text


def test_signs_of_zero_and_payloads_of_nan_are_bits_too(said: list[str]):
    recording = cuda_graphs._Recording(Adds(torch.tensor([-0.0]), torch.tensor([-0.0])), Closures())
    step = Adds(torch.tensor([-0.0]), torch.tensor([-0.0]))
    recording.play(step)
    step.run()
    assert recording.prove(step)
    assert not recording.prove(Adds(torch.tensor([0.0]), torch.tensor([0.0])))
    step.value.fill_(torch.nan)
    recording._state[0].fill_(torch.nan)
    assert recording.prove(step)


class Refuses:
    def __init__(self) -> None:
        self.asked = 0

    def record(self, play: Callable[[], None]) -> Callable[[], None]:
        self.asked += 1
        play()
        with ExitStack() as capture:  # as torch's, it cannot be ended after an error
            capture.callback(self._end)
            raise RuntimeError("operation not permitted when stream is capturing\nSet ... to debug")

    def _end(self) -> None:
        raise RuntimeError("operation failed due to a previous error during capture")


def test_what_cannot_be_recorded_goes_on_without(said: list[str]):
    recorder = Refuses()
    replaying = Graphs(recorder, MANY)
    assert list(steps(replaying, 9)) == [10] * 9
    assert recorder.asked == 1
    assert said == [
        "from now on training steps run without CUDA graphs: "
        "operation not permitted when stream is capturing"
    ]


def test_a_replay_that_fails_loses_no_step(said: list[str]):
    def fails_late(step: Adds, replays: int) -> None:
        if replays > 3:
            raise RuntimeError("launch failed")

    replaying = Graphs(Closures(fails_late), MANY)
    assert list(steps(replaying, 9)) == [10] * 9
    assert (replaying.steps, replaying.replayed) == (9, 2)
    assert len(said) == 1


def test_recordings_give_way_where_memory_ends(said: list[str]):
    replaying = Graphs(Closures(), MANY)
    assert list(steps(replaying, 6)) == [10] * 6

    class Large(Adds):
        def run(self) -> None:
            if replaying._recordings:
                raise torch.OutOfMemoryError("no")
            super().run()

    step = Large(torch.tensor([1.0]), torch.tensor([2.0]), shape="large")
    replaying.run(step)
    assert step.value.item() == 3
    assert len(said) == 1
    assert list(steps(replaying, 6)) == [10] * 6
    assert (replaying.replayed, replaying._recordings, replaying._met) == (2, {}, {})


def test_a_step_that_does_not_fit_alone_is_an_error(said: list[str]):
    class Huge(Adds):
        def run(self) -> None:
            raise torch.OutOfMemoryError("no")

    with pytest.raises(torch.OutOfMemoryError):
        Graphs(Closures(), MANY).run(Huge(torch.zeros(1), torch.zeros(1)))
    assert said == []


def test_large_steps_are_never_recorded():
    recorder = Closures()
    replaying = Graphs(recorder, 16)
    for size in (17, 16):
        for _ in range(5):
            replaying.run(Adds(torch.zeros(1), torch.zeros(1), examples=size, shape=size))
    assert recorder.recorded == 1
    assert replaying.replayed == 1


def test_what_was_met_is_not_remembered_forever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cuda_graphs, "_MAX_SHAPES", 10)
    replaying = Graphs(Closures(), MANY)
    for number in range(50):
        replaying.run(Adds(torch.zeros(1), torch.zeros(1), shape=number))
    assert list(replaying._met) == list(range(40, 50))


def test_where_memory_ends_no_client_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """So that a step may be taken again."""
    run, bank = tiny(tmp_path)
    training = [_Training(party_of(one, bank)) for one in (run, replace(run, rank=3))]
    ((tokens, takes),) = _length_groups([one.take(0) for one in training])
    step = _step(takes, tokens)
    state = RecordableStep(step).state
    before = [tensor.clone() for tensor in state]
    collect, calls = type(step.parties[0]).collect, []

    def tight(rows, gradients) -> None:
        calls.append(rows)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no")
        collect(rows, gradients)

    monkeypatch.setattr(type(step.parties[0]), "collect", tight)
    with pytest.raises(torch.OutOfMemoryError):
        step.run()
    assert all(map(torch.equal, state, before))
    step.run()
    assert not any(map(torch.equal, state, before))


def test_steps_are_replayed_on_cuda_where_nothing_speaks_against_it(tmp_path: Path):
    run, bank = tiny(tmp_path)
    assert bank.player is None
    made = graphs_of(run)
    assert made._most * example_bytes(run) <= 4 * 2**30 < (made._most + 1) * example_bytes(run)
    assert build_bank(run, CPU, made).player is made
    assert build_bank(replace(run, dropout=0.1), CPU, made).player is None
    assert build_bank(replace(run, checkpointing=True), CPU, made).player is None


def test_a_party_without_any_step_keeps_its_values(tmp_path: Path):
    run, bank = tiny(tmp_path, "gpt2", NEXT_TOKEN)
    x, y = examples(NEXT_TOKEN)
    start_N = np.ones(run.layout.entries, dtype=np.float32)
    party = Party(build_bank_model(run, CPU, bank), x, y, run.client, [Work(start_N, None, (), 0)])
    assert np.array_equal(values_of([party])[0][0], start_N)


@pytest.mark.parametrize("kind", [TEXTS, NEXT_TOKEN])
def test_labels_are_the_targets_and_nothing_elsewhere(kind: str, tmp_path: Path):
    _, bank = tiny(tmp_path, "gpt2", kind)
    x, y = examples(kind)
    tokens = bank.inputs.length(x)
    labels = bank.inputs.labels(x, y, tokens)
    logits = torch.randn(len(labels), 5)
    shaped = logits if kind == TEXTS else logits.view(len(x), tokens, 5)
    found, targets = bank.inputs.targets(shaped, x, y)
    assert torch.equal(found, logits[labels >= 0])
    assert torch.equal(targets, labels[labels >= 0])
    assert len(targets) == sum(bank.inputs.counts([x]))


def record_of(config: RunConfig, paper: NetworkProfile, device: str, replaying: Graphs | None):
    learner = open_learner(config, device)
    learner._model.bank.player = replaying
    return run(config, paper, learner, rounds=8, eval_every=2)


def test_a_record_is_the_same_with_and_without_replays(paper: NetworkProfile):
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2)
    replaying = StepGraphs(TapeRecorder(), MANY)
    ours = record_of(config, paper, "cpu", replaying)
    theirs = record_of(config, paper, "cpu", None)
    assert ours.rounds.equals(theirs.rounds)
    assert replaying.replayed > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_record_on_a_gpu_is_the_same_with_and_without_graphs(paper: NetworkProfile):
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2)
    learner = open_learner(config, "cuda")
    replaying = learner._model.bank.player
    ours = record_of(config, paper, "cuda", replaying)
    theirs = record_of(config, paper, "cuda", None)
    assert ours.rounds.equals(theirs.rounds)
    assert replaying.replayed > 0
