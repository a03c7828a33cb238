"""The conformance kit of methods: what any method promises, tested through one fixture.

A method of yours inherits every test below by one more entry of ``CASES``::

    "mine": Case(my_method(1 / 4), down=[part(1 / 4)], up=[part(1 / 4)], neutral=my_method(1)),

``down`` and ``up`` hold, for each tier, a function from a layout to the entries that travel
after three server steps, reckoned apart from the product; ``neutral`` is the setting at which the
method is dense LoRA bit for bit. Each method is played once: four rounds of real training on
digits, with clients of all tiers, some of whom come back and some of whom come for the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
import torch

from floss_sim import RunConfig, load_task
from floss_sim.errors import ConfigError
from floss_sim.methods import (
    METHODS,
    Everything,
    Exchange,
    MaskHistory,
    Method,
    Moment,
    Tier,
    TopK,
    Turns,
    dense,
    method_from_name,
)
from floss_sim.methods.factor_messages import Bundle
from floss_sim.methods.predicted_sizes import changes_by_round
from floss_sim.methods.product_steps import RefactoringStep
from floss_sim.methods.selectors import Bounded
from floss_sim.protocol import NO_STATE, Arrival, ClientState, Dispatch, Upload
from floss_sim.protocol.weighting import weights
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.training.learners.seed_learner import SeedLearner
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.models.flat_model import FlatModel
from floss_sim.training.models.seed_model import build_model
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import VALUE_CODES, sent_entries
from floss_sim.wire.framing import fields

Count = Callable[[Layout], int]


def part(density: float) -> Count:
    """A fraction of the whole vector."""
    return lambda layout: max(1, int(density * layout.entries))


def part_of_each(density: float) -> Count:
    """A fraction of every tensor."""
    return lambda layout: sum(max(1, int(density * t.size)) for t in layout.tensors)


def head_and(density: float) -> Count:
    """The head, and a fraction of all the rest together."""

    def count(layout: Layout) -> int:
        head = sum(t.size for t in layout.tensors if t.name.startswith("head."))
        return head + int(density * (layout.entries - head))

    return count


def ranks(kept: int, of: int = 2) -> Count:
    """Some ranks of every adapter, and the head."""

    def count(layout: Layout) -> int:
        head = sum(t.size for t in layout.tensors if t.name.startswith("head."))
        return head + (layout.entries - head) * kept // of

    return count


def half(letter: str, density: float = 1.0) -> Count:
    """A fraction of LoRA's A or B of every adapter and the head together."""

    def count(layout: Layout) -> int:
        turn = [t for t in layout.tensors if t.name.startswith("head.") or t.name.endswith(letter)]
        return int(density * sum(t.size for t in turn))

    return count


def ranks_of(letter: str, density: float) -> Count:
    """A fraction of the ranks of A or B, which all have 64 entries, and the head."""

    def count(layout: Layout) -> int:
        head = sum(t.size for t in layout.tensors if t.name.startswith("head."))
        ranks = 2 * sum(t.name.endswith(letter) for t in layout.tensors)
        return head + 64 * int(density * ranks)

    return count


def shared_ranks(kept: int, of: int, density: float) -> Count:
    """A fraction of some ranks of every adapter and the head together."""
    return lambda layout: int(density * ranks(kept, of)(layout))


def of_kinds(*kinds: str) -> Count:
    """The tensors of some kinds, and the head."""
    return lambda layout: sum(
        t.size for t in layout.tensors if t.kind in kinds or t.name.startswith("head.")
    )


def segment(segments: int, a_density: float, density: float) -> Count:
    """A fraction of a part of A, and another of a part of the rest."""

    def count(layout: Layout) -> int:
        a = sum(t.size for t in layout.tensors if t.name.endswith("A"))
        rest = layout.entries - a
        return int(a_density * (a // segments)) + int(density * (rest // segments))

    return count


def layers(kept: int, of: int = 4) -> Count:
    """Some of the layers, and the head."""
    return ranks(kept, of)


ALL = part(1)


@dataclass(frozen=True)
class Case:
    """A method under test and what is expected of it."""

    method: Method
    down: list[Count] = field(default_factory=lambda: [ALL])
    up: list[Count] = field(default_factory=lambda: [ALL])
    neutral: Method | None = None


make = method_from_name
QUARTER = {"down_density": 1 / 4, "up_density": 1 / 16}
TWO_RANKS = "1:2,1:1"
BOTH = Turns(TopK(1.0), (("lora_A", "lora_B"),))  # the neutral turn
CASES = {
    "dense": Case(make("dense"), neutral=dense()),
    "floss": Case(make("floss", **QUARTER), [part(1 / 4)], [part(1 / 16)], make("floss")),
    "floss of each tensor": Case(
        make("floss", **QUARTER, scope="tensor"),
        [part_of_each(1 / 4)],
        [part_of_each(1 / 16)],
        make("floss", scope="tensor"),
    ),
    "floss and the head": Case(
        make("floss", **QUARTER, dense_head=True),
        [head_and(1 / 4)],
        [head_and(1 / 16)],
        make("floss", dense_head=True),
    ),
    "floss at random": Case(
        make("floss", **QUARTER, pick="random"),
        [part(1 / 4)],
        [part(1 / 16)],
        make("floss", pick="random"),
    ),
    "floss at random of each tensor, with error feedback": Case(
        make("floss", **QUARTER, pick="random", scope="tensor", error_feedback=True),
        [part_of_each(1 / 4)],
        [part_of_each(1 / 16)],
        make("floss", pick="random", scope="tensor", error_feedback=True),
    ),
    "floss with error feedback": Case(
        make("floss", **QUARTER, error_feedback=True),
        [part(1 / 4)],
        [part(1 / 16)],
        make("floss", error_feedback=True),
    ),
    "floss in int8 and int4 with error feedback": Case(
        make("floss", **QUARTER, down_values="int8", up_values="int4", error_feedback=True),
        [part(1 / 4)],
        [part(1 / 16)],
        make("floss", error_feedback=True),
    ),
    "dense in bf16 and fp16": Case(
        make("dense", down_values="bf16", up_values="fp16"), neutral=dense()
    ),
    "dense in int8": Case(make("dense", down_values="int8", up_values="int8"), neutral=dense()),
    "floss-tiers": Case(
        make("floss-tiers"),
        [ALL, part(1 / 4), part(1 / 16)],
        [ALL, part(1 / 4), part(1 / 16)],
        make("floss-tiers", tiers="1:1:1"),
    ),
    "floss-tiers at random in bf16": Case(
        make("floss-tiers", tiers="1:1/2:1/4,3:1/4:1", pick="random", up_values="bf16"),
        [part(1 / 2), part(1 / 4)],
        [part(1 / 4), ALL],
        make("floss-tiers", tiers="1:1:1,3:1:1", pick="random"),
    ),
    "sparse-adapter": Case(
        make("sparse-adapter"), [part(1 / 4)], [part(1 / 4)], make("sparse-adapter", density=1)
    ),
    "sparse-adapter of each tensor with a ledger": Case(
        make("sparse-adapter", scope="tensor", mask_ledger=True),
        [part_of_each(1 / 4)],
        [part_of_each(1 / 4)],
        make("sparse-adapter", density=1, scope="tensor", mask_ledger=True),
    ),
    "sparse-adapter at random in int4": Case(
        make("sparse-adapter", pick="random", down_values="int4", up_values="int4"),
        [part(1 / 4)],
        [part(1 / 4)],
        make("sparse-adapter", density=1, pick="random"),
    ),
    "adapter-lth": Case(
        make("adapter-lth"), [part(0.98**3)], [part(0.98**3)], make("adapter-lth", factor=1)
    ),
    "adapter-lth in int8 with a ledger and error feedback": Case(
        make(
            "adapter-lth",
            factor=0.7,
            dense_head=True,
            mask_ledger=True,
            error_feedback=True,
            down_values="int8",
            up_values="int8",
        ),
        [head_and(0.7**3)],
        [head_and(0.7**3)],
        make("adapter-lth", factor=1, dense_head=True, mask_ledger=True, error_feedback=True),
    ),
    "hetlora": Case(
        make("hetlora", tiers=TWO_RANKS),
        [ranks(2), ranks(1)],
        [ranks(2), ranks(1)],
        make("hetlora", tiers="1:2,1:2"),
    ),
    "hetlora of the largest ranks, mean of those covering": Case(
        make("hetlora", tiers=TWO_RANKS, which="largest", divisor="covering"),
        [ranks(2), ranks(1)],
        [ranks(2), ranks(1)],
        make("hetlora", tiers="1:2", which="largest", divisor="covering"),
    ),
    "hetlora of the largest ranks in fp16 with error feedback": Case(
        make("hetlora", tiers="1:1", which="largest", up_values="fp16", error_feedback=True),
        [ranks(1)],
        [ranks(1)],
        make("hetlora", tiers="1:2", which="largest", error_feedback=True),
    ),
    "fslora in int8, mean of those covering": Case(
        make("fslora", density=1 / 2, divisor="covering", up_values="int8"),
        [ranks(1)],
        [ranks(1)],
        make("fslora", density=1, divisor="covering"),
    ),
    "lora-a2 in fp16 with error feedback": Case(
        make(
            "lora-a2", down_density=1 / 2, up_density=1 / 2, up_values="fp16", error_feedback=True
        ),
        [part(1 / 2)],
        [ranks_of("A", 1 / 2)],
        replace(make("lora-a2", error_feedback=True), tiers=(Tier(1.0, Everything(), BOTH, BOTH),)),
    ),
    # With the mean in the place of the step on products, which is no mean.
    "fedsrd of half a factor in int8 with error feedback": Case(
        make("fedsrd", down_density=1 / 2, up_values="int8", error_feedback=True),
        up=[part(1 / 4)],
        neutral=replace(make("fedsrd", up_density=1, error_feedback=True), product_step=None),
    ),
    "ecolora in int8": Case(
        make(
            "ecolora",
            segments=2,
            down_density=1 / 2,
            up_density=1 / 2,
            half_life=0.1,
            up_values="int8",
        ),
        [part(1 / 2)],
        [segment(2, 0.6, 1 / 2)],
        make("ecolora", segments=1, up_density=1),
    ),
    "fedsa-lora, sparse, with error feedback": Case(
        make("fedsa-lora", down_density=1 / 2, up_density=1 / 4, error_feedback=True),
        [half("A", 1 / 2)],
        [half("A", 1 / 4)],
        replace(make("fedsa-lora", error_feedback=True), tiers=dense().tiers, private=None),
    ),
    "feddpa together, sparse, with error feedback": Case(
        make("feddpa", together=True, down_density=1 / 2, up_density=1 / 4, error_feedback=True),
        [shared_ranks(2, 4, 1 / 2)],
        [shared_ranks(2, 4, 1 / 4)],
        make("feddpa", private_rank=0, error_feedback=True),
    ),
    "freezing in int8 with error feedback": Case(
        make("freezing", freeze_every=2, down_values="bf16", up_values="int8", error_feedback=True),
        up=[layers(3)],
        neutral=make("freezing", density=1, error_feedback=True),
    ),
    # With the mean in the place of the SVD.
    "flexlora": Case(
        make("flexlora", tiers=TWO_RANKS, product_rate=0.5),
        [ranks(2), ranks(1)],
        [ranks(2), ranks(1)],
        replace(make("flexlora"), product_step=None),
    ),
    "lora-fair in int8": Case(
        make("lora-fair", **QUARTER, up_values="int8"),
        [part(1 / 4)],
        [part(1 / 16)],
        make("lora-fair", penalty=1e300),
    ),
    # With A trained, too, and never renewed.
    "fedsvd in fp16": Case(
        make("fedsvd", down_density=1 / 2, up_density=1 / 4, rebase_every=2, up_values="fp16"),
        [part(1 / 2)],
        [half("B", 1 / 4)],
        replace(make("fedsvd", rebase_every=0), tiers=(Tier(1.0, Everything(), BOTH, BOTH),)),
    ),
    "rolora in int8 with error feedback": Case(
        make("rolora", down_density=1 / 2, up_density=1 / 4, up_values="int8", error_feedback=True),
        [part(1 / 2)],
        [half("A", 1 / 4)],
        replace(make("rolora", error_feedback=True), tiers=(Tier(1.0, Everything(), BOTH, BOTH),)),
    ),
    "flora in int8": Case(
        make("flora", up_values="int8"),
        [of_kinds()],
        [of_kinds("lora_A", "lora_B")],
        # Adapters that go on, and no stacks.
        replace(make("fedex-lora", residual_rank=0), name="flora"),
    ),
    "fedex-lora in bf16 with error feedback": Case(
        make("fedex-lora", down_values="bf16", up_values="bf16", error_feedback=True),
        [of_kinds("lora_A", "lora_B")],
        [of_kinds("lora_A", "lora_B")],
        make("fedex-lora", residual_rank=0, error_feedback=True),
    ),
    # Those of another layout equal dense messages of that layout at densities 1.
    **{
        name: Case(make(name, **QUARTER), [part(1 / 4)], [part(1 / 16)])
        for name in ("fed-sb", "ffa", "bitfit", "full", "head")
    },
    "fedkseed": Case(
        make("fedkseed", seeds=16, steps=8),
        up=[part(1 / 2)],
        neutral=make("fedkseed", seeds=16, steps=16),
    ),
    "ravan": Case(
        make("ravan", heads=2, **QUARTER),
        [part(1 / 4)],
        [part(1 / 16)],
        make("ravan", heads=2),
    ),
}
COHORTS = ((0, 20, 49), (0, 21, 49), (0, 20, 30), (0, 20, 49))
PARTICIPATIONS = [(round_, i) for round_ in range(len(COHORTS)) for i in range(3)]


@dataclass(frozen=True)
class Participation:
    """One client's part in a round, seen from both ends."""

    dispatch: Dispatch
    start: Vector  # offsets that the client decoded
    trained: Mask | None
    raw: Vector  # what local training took off
    kept: ClientState  # what the client kept before
    upload: Upload
    again: tuple[Dispatch, Upload] | None  # of another learner, restored before the last round
    tier: int


@dataclass(frozen=True)
class Played:
    """Four rounds of a method: its participations in order, and P after each round."""

    config: RunConfig
    exchange: Exchange
    parts: list[Participation]
    vectors: list[Vector]

    @property
    def layout(self) -> Layout:
        return self.config.layout


class Witness(TorchLearner):
    """A real learner, whose local updates can be looked at."""

    seen: tuple[Vector, Mask | None, Vector]

    def _update(self, dispatch: Dispatch) -> Vector:
        update_N = super()._update(dispatch)
        offsets_N, trained_N, _ = self._clients.content(dispatch)
        self.seen = offsets_N, trained_N, update_N
        return update_N


def config_of(method: Method) -> RunConfig:
    config = RunConfig.of(load_task("digits"), method, rank=2)
    rate = {"learning_rate": 1e-4} if method.zeroth_order else {}
    return config.with_(server={"cohort": 3}, client=rate)


MODELS: dict[bytes, FlatModel] = {}


def model_of(config: RunConfig) -> FlatModel:
    if config.layout.digest not in MODELS:
        MODELS[config.layout.digest] = build_model(config, torch.device("cpu"))
    return MODELS[config.layout.digest]


def witness(config: RunConfig) -> Witness:
    kind = SeedLearner if config.method.zeroth_order else SequentialLearner
    return type("Seen", (Witness, kind), {})(config, model_of(config))


@cache
def play(method: Method) -> Played:
    config = config_of(method)
    torch.set_num_threads(1)
    learner = witness(config)
    kept: dict[int, ClientState] = {}
    played = Played(config, Exchange(method, config.layout, config.seed), [], [])
    for round_, cohort in enumerate(COHORTS):
        twin = witness(config) if round_ == len(COHORTS) - 1 else None
        if twin:
            twin.restore(learner.snapshot())
        dispatches = [learner.dispatch(c, 3 * round_ + i) for i, c in enumerate(cohort)]
        uploads = []
        for dispatch in dispatches:
            before = kept.get(dispatch.client, NO_STATE)
            upload = learner.train(dispatch, before)
            again = None
            if twin:
                sent = twin.dispatch(dispatch.client, dispatch.sequence)
                again = sent, twin.train(sent, before)
            tier = method.tier_of(dispatch.client, config.fleet.clients)
            played.parts.append(Participation(dispatch, *learner.seen, before, upload, again, tier))
            kept[dispatch.client] = upload.client_state
            uploads.append(upload)
        shares = weights(uploads, "uniform")
        parts = zip(dispatches, uploads, shares, strict=True)
        learner.aggregate([Arrival(d, u, w, 0) for d, u, w in parts])
        played.vectors.append(learner.snapshot().tensors["P"])
    return played


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    """The one fixture through which a method inherits the kit."""
    return request.param


def test_every_method_is_in_the_kit():
    assert {case.method.name for case in CASES.values()} == set(METHODS)


# what travels, what trains, what stays frozen


def test_as_many_entries_travel_as_its_densities_say(case: Case):
    """After three server steps; of values without zeros, which may be dropped."""
    played = play(case.method)
    exchange, layout = played.exchange, played.layout
    values_N = normal(layout, 0)
    history = MaskHistory(layout.entries)
    for version in (1, 2, 3):
        exchange.prune(values_N, history, version)
    for tier, (down, up) in enumerate(zip(case.down, case.up, strict=True)):
        mask_N = exchange.download_mask(values_N, history, tier, 3)
        assert mask_N.sum() == down(layout)
        trained_N = trained_of(exchange, history, values_N, tier, 3)
        reply = exchange.upload(
            values_N, tier, 5, 9, trained_N, NO_STATE, version=3, start_N=normal(layout, 1)
        )
        assert reply.entries == up(layout)


def test_no_more_entries_travel_in_a_run_than_its_densities_say(case: Case):
    played = play(case.method)
    last = [part_ for part_ in played.parts if part_.dispatch.version == 3]
    for part_ in last:
        down, up = (counts[part_.tier](played.layout) for counts in (case.down, case.up))
        # An entry that was never trained (A, where B is not sent) may be an exact zero.
        assert 0.7 * down < main_entries(case.method, part_.dispatch) <= down
        assert 0 < part_.upload.entries <= up
    assert {part_.tier for part_ in last} == set(range(len(case.down)))


def main_entries(method: Method, dispatch: Dispatch) -> int:
    """The entries of a download without those of the backbone's changes."""
    if method.backbone_change is None:
        return dispatch.entries
    return sent_entries(Bundle.unpack(dispatch.blob).main)


def test_what_does_not_train_stays_frozen_and_the_rest_trains(case: Case):
    played = play(case.method)
    for part_ in played.parts:
        raw_N, trained_N = part_.raw, part_.trained
        assert raw_N.any()
        if case.method.zeroth_order:  # another direction in each step
            assert np.count_nonzero(raw_N) == case.method.zeroth_order.steps
            continue
        if trained_N is None:
            assert part_.start.all() or raw_N[part_.start == 0].any()
            continue
        assert not raw_N[~trained_N].any()
        assert trained_N.sum() < played.layout.entries
        if not case.method.trains_by_schedule:
            assert case.method.is_masked
            assert not part_.start[~trained_N].any()


def test_a_client_starts_from_what_the_server_holds(case: Case):
    """Decoded values are the server's, up to their value code; nothing else arrives."""
    played = play(case.method)
    vectors_N = [played.layout.initial_vector(played.config.seed), *played.vectors]
    for part_ in played.parts:
        held_N = vectors_N[part_.dispatch.version]
        sent_N = part_.start != 0
        error_N = np.abs(part_.start - held_N)[sent_N]
        lossless = VALUE_CODES[case.method.down_values].is_lossless
        base_N = model_of(played.config).base  # zero for LoRA: no rounding
        rounding = np.finfo(np.float32).eps * np.abs(base_N).max()
        assert error_N.max(initial=0) <= (rounding if lossless else np.abs(held_N).max() / 7)


def test_an_upload_is_the_selected_part_of_the_update(case: Case):
    for part_, decoded_N in zip(play(case.method).parts, decoded(case.method), strict=True):
        total_N = part_.raw + part_.kept.get("residual", np.float32(0))
        sent_N = decoded_N != 0
        if part_.trained is not None:
            assert not (sent_N & ~part_.trained).any()
        if VALUE_CODES[case.method.up_values].is_lossless:
            assert np.array_equal(decoded_N[sent_N], total_N[sent_N])
        assert sent_N.sum() <= part_.upload.entries


def decoded(method: Method) -> list[Vector]:
    """What the server decodes of each participation, knowing what it knows."""
    played = play(method)
    vectors_N = []
    for part_ in played.parts:
        client, sequence = part_.dispatch.client, part_.dispatch.sequence
        known_N = played.exchange.known_upload_mask(
            part_.tier, client, sequence, part_.trained, part_.dispatch.version
        )
        vectors_N.append(played.exchange.decode_upload(part_.upload.blob, known_N))
    return vectors_N


# its neutral setting


def test_its_neutral_setting_is_dense_bit_for_bit(case: Case):
    """Also of another layout, whose dense messages are those of densities 1."""
    method = case.neutral or make(case.method.name, down_density=1, up_density=1)
    layout = {name: getattr(method, name) for name in ("trains", "heads", "zeroth_order")}
    plain, neutral = play(replace(dense(), name=case.method.name, **layout)), play(method)
    for one, other in zip(neutral.parts, plain.parts, strict=True):
        if method.backbone_change is None:  # which adds a few bytes even if nothing changes
            assert one.dispatch.blob == other.dispatch.blob
            assert one.upload.blob == other.upload.blob
        assert np.array_equal(one.start, other.start)
        assert np.array_equal(one.raw, other.raw)
    for one_N, other_N in zip(neutral.vectors, plain.vectors, strict=True):
        assert np.array_equal(one_N, other_N)


def test_fedsvd_that_never_renews_a_is_ffa_lora_bit_for_bit():
    """Whose layout lacks A: it is frozen at the same values."""
    whole, part_ = play(make("fedsvd", rebase_every=0)), play(make("ffa"))
    names = [t.name for t in whole.layout.tensors for _ in range(t.size)]
    trained_N = np.array([not name.endswith("lora_A") for name in names])
    for one_N, other_N in zip(whole.vectors, part_.vectors, strict=True):
        assert np.array_equal(one_N[trained_N], other_N)
    start_N = whole.layout.initial_vector(0)
    assert np.array_equal(whole.vectors[-1][~trained_N], start_N[~trained_N])


# purity


def test_a_restored_learner_sends_trains_and_returns_the_same_bytes(case: Case):
    """Its calls are pure functions of their arguments and of the snapshot."""
    for part_ in play(case.method).parts[-3:]:
        assert part_.again
        dispatch, upload = part_.again
        assert dispatch == part_.dispatch
        assert upload.blob == part_.upload.blob
        state, again = part_.upload.client_state, upload.client_state
        kept = {"residual": case.method.error_feedback, "private": case.method.private is not None}
        kept |= dict.fromkeys(("held", "held_version"), case.method.backbone_change is not None)
        assert set(state) == set(again) == {name for name, is_kept in kept.items() if is_kept}
        assert all(np.array_equal(state[name], again[name]) for name in state)


def test_the_streams_of_a_seed_differ_between_clients_dispatches_and_seeds(case: Case):
    """Only methods that draw: two draws of the same values must not be the same."""
    method, layout = case.method, play(case.method).layout
    draws = method.up_values != "fp32" or "random" in method.describe()
    update_N = normal(layout, 0)
    blobs = {
        Exchange(method, layout, seed)
        .upload(update_N, 0, client, sequence, None, NO_STATE, start_N=normal(layout, 1))
        .blob
        for seed, client, sequence in ((0, 1, 2), (0, 1, 3), (0, 2, 2), (1, 1, 2))
    }
    selectors = {method.upload_selector(0, Moment(0, sequence)) for sequence in (2, 3)}
    everything = method.tiers[0].upload.density in (None, 1.0) and method.up_values == "fp32"
    assert len(blobs) == (4 if draws and not everything else len(selectors))


# sizes


def test_predicted_sizes_are_about_those_of_the_encoded_messages(case: Case):
    """Entries are predicted exactly, but for zeros, of which the expected number is predicted."""
    played = play(case.method)
    by_round = changes_by_round(case.method)
    guess = SizeOnlyLearner(played.config.sizes, played.config.client_examples())
    exact = 0
    for number in range(len(COHORTS)):
        uploads, arrivals = [], []
        for part_ in played.parts[3 * number : 3 * number + 3]:
            dispatch = guess.dispatch(part_.dispatch.client, part_.dispatch.sequence)
            uploads.append(guess.train(dispatch, NO_STATE))
            arrivals.append(Arrival(dispatch, uploads[-1], 1 / 3, 0))
            for real, predicted in (
                (part_.dispatch, dispatch),
                (part_.upload, uploads[-1]),
            ):
                assert real.nbytes == len(real.blob)
                assert real.nbytes <= (1.5 if by_round else 1.25) * predicted.nbytes
                expected = by_round or played.config.sizes.touched_share(number) not in (0, 1)
                assert real.entries <= (1.25 if expected else 1) * predicted.entries
                if real.entries == predicted.entries:
                    assert real.nbytes >= 0.4 * predicted.nbytes
                    exact += 1
            assert uploads[-1].examples == part_.upload.examples
            assert dispatch.held == part_.dispatch.held
        guess.aggregate(arrivals)
    # Zeros are common only at first: B is zero, A has no gradient. New adapters always begin so.
    # The nine downloads after the first round have none; of uploads, that is up to the processor.
    change = case.method.backbone_change
    assert exact >= (4 if change and change.restarts else 9)


def test_an_upload_that_shares_the_downloads_mask_carries_no_positions(case: Case):
    if not case.method.is_masked:
        return
    for part_ in play(case.method).parts[3:]:
        trained_N = part_.trained
        universe = part_.raw.size if trained_N is None else int(trained_N.sum())
        if part_.upload.entries == universe:
            assert not fields(part_.upload.blob)[0].index


# error feedback


@pytest.mark.parametrize("up_values", ["fp32", "bf16", "int4"])
def test_error_feedback_loses_nothing(case: Case, up_values: str):
    """What was decoded and what is kept add up to what was trained, round after round."""
    method = with_error_feedback(case.method, up_values)
    layout = play(case.method).layout
    for tier in range(len(method.tiers)):
        exchange, history = Exchange(method, layout, 3), MaskHistory(layout.entries)
        raw_N, sent_N = np.zeros(layout.entries), np.zeros(layout.entries)
        state: ClientState = NO_STATE
        for version in range(6):
            trained_N = trained(exchange, history, tier, version)
            update_N = update_of(exchange, 100 + version, trained_N, tier, Moment(version, version))
            state, decoded_N = answer(exchange, update_N, tier, version, trained_N, state, version)
            raw_N += update_N
            sent_N += decoded_N
            assert np.abs(sent_N + state["residual"] - raw_N).max() < 1e-5
        assert np.count_nonzero(sent_N) > 0


@pytest.mark.parametrize("up_values", ["fp32", "int8"])
def test_what_was_not_sent_is_sent_later(case: Case, up_values: str):
    """One update, then nothing new: all of it arrives in the end."""
    method = with_error_feedback(case.method, up_values)
    layout = play(case.method).layout
    exchange, history = Exchange(method, layout, 3), MaskHistory(layout.entries)
    tier = len(method.tiers) - 1
    trained_N = trained(exchange, history, tier, 0)
    update_N = update_of(exchange, 7, trained_N, tier, Moment(0))
    nothing_N, arrived_N = np.zeros_like(update_N), np.zeros(layout.entries)
    state: ClientState = NO_STATE
    for sequence in range(200):
        new_N = nothing_N if sequence else update_N
        state, decoded_N = answer(exchange, new_N, tier, sequence, trained_N, state)
        arrived_N += decoded_N
        if not state["residual"].any():
            break
    missing = np.linalg.norm(arrived_N - update_N) / np.linalg.norm(update_N)
    assert missing < (1e-6 if VALUE_CODES[up_values].is_lossless else 1e-2)


def with_error_feedback(method: Method, up_values: str) -> Method:
    """Return a method with error feedback; it cannot have it if adapters change on their way."""
    restarts = method.backbone_change is not None and method.backbone_change.restarts
    if isinstance(method.product_step, RefactoringStep) or restarts:
        with pytest.raises(ConfigError, match=r"changes the basis of B|starts from new adapters"):
            replace(method, error_feedback=True)
        pytest.skip("no error feedback")
    return replace(method, error_feedback=True, up_values=up_values)


def update_of(
    exchange: Exchange, seed: int, trained_N: Mask | None, tier: int, moment: Moment
) -> Vector:
    """Return a random update of the entries that train and that the upload may hold."""
    update_N = normal(exchange.layout, seed)
    selector = exchange.method.upload_selector(tier, moment)
    if isinstance(selector, Bounded):
        update_N *= selector.bounds(exchange.layout)
    return update_N if trained_N is None else update_N * trained_N


def trained(exchange: Exchange, history: MaskHistory, tier: int, version: int) -> Mask | None:
    """Return the mask that trains at a version, after pruning a random vector."""
    vector_N = normal(exchange.layout, version)
    exchange.prune(vector_N, history, version)
    return trained_of(exchange, history, vector_N, tier, version)


def trained_of(
    exchange: Exchange, history: MaskHistory, vector_N: Vector, tier: int, version: int
) -> Mask | None:
    """Return the mask that trains, as a client reads it from the download of a vector."""
    mask_N = exchange.download_mask(vector_N, history, tier, version)
    known_N = exchange.known_download_mask(history, tier, version, 0)
    blob = exchange.download(vector_N, mask_N, tier, version, known_N)
    return exchange.decode_download(blob, tier, version, known_N)[1]


def answer(
    exchange: Exchange,
    update_N: Vector,
    tier: int,
    sequence: int,
    trained_N: Mask | None,
    state: ClientState,
    version: int = 0,
) -> tuple[ClientState, Vector]:
    """Return what client 5 keeps, and what the server decodes of its upload."""
    start_N = normal(exchange.layout, 1)
    reply = exchange.upload(
        update_N, tier, 5, sequence, trained_N, state, version=version, start_N=start_N
    )
    known_N = exchange.known_upload_mask(tier, 5, sequence, trained_N, version)
    return reply.state, exchange.decode_upload(reply.blob, known_N)


def normal(layout: Layout, seed: int) -> Vector:
    return np.random.default_rng(seed).standard_normal(layout.entries).astype(np.float32)


# unbiased rounding

DRAWS = 500


@pytest.mark.parametrize("way", ["down", "up"])
@pytest.mark.parametrize("code", [c for c in VALUE_CODES if VALUE_CODES[c].rounds_at_random])
def test_rounding_is_unbiased_both_ways(code: str, way: str):
    """The mean of 500 draws against the value, entry by entry and over all entries.

    A rounded value lies on either end of a gap. Hoeffding: the mean of n draws misses by z gaps /
    (2 sqrt(n)) with probability 2 exp(-z**2 / 2) at most, as a normal one would. With 700 entries
    z stays below 6.8 but for one case in 10 million.
    """
    layout = config_of(dense()).layout
    method = make("floss", **{f"{way}_density": 0.26, f"{way}_values": code})
    exchange, history = Exchange(method, layout, 11), MaskHistory(layout.entries)
    values_N = normal(layout, 1) * np.float32(1e-3)
    mask_N = exchange.download_mask(values_N, history, 0, 0)
    if way == "down":
        blobs = [exchange.download(values_N, mask_N, 0, version) for version in range(DRAWS)]
        draws = [exchange.decode_download(blob, 0, 0, None)[0] for blob in blobs]
    else:
        mask_N = method.tiers[0].upload.mask(layout, values_N, lambda: pytest.fail("drew"))
        draws = [
            answer(exchange, values_N, 0, sequence, None, NO_STATE)[1] for sequence in range(DRAWS)
        ]
    draws_DK = np.stack(draws)[:, mask_N].astype(np.float64)
    values_K = values_N[mask_N].astype(np.float64)
    gaps_K = np.ptp(draws_DK, axis=0)
    assert all(len(np.unique(draws_DK[:, k])) <= 2 for k in range(0, values_K.size, 9))
    error_K = draws_DK.mean(axis=0) - values_K
    seen = gaps_K > 0  # a value next to an end of its gap may round to it every time
    assert seen.mean() > 0.9
    z_K = error_K[seen] / (gaps_K[seen] / (2 * np.sqrt(DRAWS)))
    assert 600 < values_K.size < 800
    assert np.abs(z_K).max() < 6.8
    # Nor do the entries lean together, upwards or towards zero.
    for sign_K in (1, np.sign(values_K[seen])):
        assert abs((z_K * sign_K).sum()) / np.sqrt(z_K.size) < 5.7
