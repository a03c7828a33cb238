"""Passes that a thread begins before they are asked for: who gains, and that nobody notices."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from floss_sim import RunConfig, RunFolder, floss, load_profile, load_task, open_learner, run
from floss_sim.errors import NonFiniteUpdateError, TaskError
from floss_sim.methods import method_from_name
from floss_sim.methods.exchange import RESIDUAL
from floss_sim.protocol import NO_STATE, Dispatch
from floss_sim.runs.conditions import conditions
from floss_sim.simulator import buffered, deadline, first_k, wait_all
from floss_sim.training.learners import passes as module
from floss_sim.training.learners import torch_learner as learner_module
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.learners.prefetch import Prefetch
from floss_sim.training.side_by_side.scheduler import PassScheduler

FLOSS = {"down_density": 1 / 4, "up_density": 1 / 16}
METHODS = {
    "floss": floss(1 / 4, 1 / 16),
    "tiers": method_from_name("floss-tiers", tiers="1:1:1/2,2:1/4:1/64", scope="tensor"),
    "error feedback": method_from_name("floss", **FLOSS, error_feedback=True, up_values="int4"),
    "masks": method_from_name("adapter-lth", factor=0.8, mask_ledger=True, up_values="int8"),
}
POLICIES = {
    "wait-all": wait_all(),
    "first-k": first_k(2, late="finish"),
    "deadline": deadline(0.2, minimum=2),
    "buffered": buffered(2),
}
ROUNDS, STOPS = 4, 2
WAIT_S = 20  # for what must happen


def config_of(method=METHODS["floss"]) -> RunConfig:
    config = RunConfig.of(load_task("digits"), method, rank=2)
    return config.with_(fleet={"clients": 30}, server={"cohort": 5})


def learner_of(config: RunConfig, chunk: int = 2, **chosen) -> BankLearner:
    opened = open_learner(config, "cpu")
    assert isinstance(opened, BankLearner)
    return BankLearner(config, opened._model, chunk, **chosen)


def pass_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("floss-sim-pass")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    assert not pass_threads()
    yield
    gc.collect()
    assert not pass_threads()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """The clients of each pass, and whether the main thread computed it."""
    seen: list[tuple[int, bool]] = []
    real = module.train_together

    def watched(model, x, y, settings, works):
        seen.append((len(works), threading.current_thread() is threading.main_thread()))
        return real(model, x, y, settings, works)

    monkeypatch.setattr(module, "train_together", watched)
    return seen


@pytest.fixture(params=METHODS.values(), ids=METHODS.keys())
def config(request: pytest.FixtureRequest) -> RunConfig:
    return config_of(request.param)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_a_record_is_the_same_to_the_last_bit(
    config: RunConfig, policy, passes, monkeypatch: pytest.MonkeyPatch
):
    network = load_profile("lte")
    records, models = [], []
    for chosen in ({}, {"ranks": True}, {"ahead": True}, {"ranks": True, "ahead": True}):
        passes.clear()
        learner = learner_of(config, **chosen)
        if len(chosen) == 2:  # as where all that can be encoded is encoded while passes go on
            monkeypatch.setattr(Prefetch, "wait_until_idle", at_leisure)
        records.append(run(config, network, learner, rounds=ROUNDS, policy=policy, eval_every=2))
        models.append(learner.model())
        assert {here for _, here in passes} == {"ahead" not in chosen}
    for record, model in zip(records[1:], models[1:], strict=True):
        assert record.rounds.equals(records[0].rounds)
        assert record.transfers.equals(records[0].transfers)
        assert model == models[0]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_an_interrupted_run_goes_on_bit_for_bit(config: RunConfig, policy, tmp_path: Path):
    network = load_profile("lte")
    shaped = config.description(learner_of(config).identity, conditions(network, policy))
    whole, killed = (RunFolder.open(tmp_path / name, shaped) for name in ("whole", "killed"))
    run(config, network, learner_of(config), rounds=ROUNDS, policy=policy, folder=whole)
    dying, number = learner_of(config, ranks=True, ahead=True), 0
    real = dying.train

    def train(dispatch, state):
        nonlocal number
        number += dying._version == STOPS
        if number == 2:  # a pass has just been begun
            raise KeyboardInterrupt
        return real(dispatch, state)

    dying.train = train
    with pytest.raises(KeyboardInterrupt):
        run(
            config, network, dying, rounds=ROUNDS, policy=policy, folder=killed, commit_every_s=0,
        )  # fmt: skip
    assert killed.manifest().rounds == STOPS
    fresh = learner_of(config, ranks=True, ahead=True)
    run(config, network, fresh, rounds=ROUNDS, policy=policy, folder=killed)
    assert killed.record().rounds.equals(whole.record().rounds)
    assert killed.record().transfers.equals(whole.record().transfers)
    assert killed.model(ROUNDS) == whole.model(ROUNDS)


_rest = Prefetch.wait_until_idle


def at_leisure(ahead: Prefetch, meanwhile) -> None:
    """Rest as where a pass takes long enough for all that else is to be done."""
    while meanwhile():
        pass
    _rest(ahead, meanwhile)


def send(learner: BankLearner, clients=(3, 17, 29, 4, 8)) -> list[Dispatch]:
    return [learner.dispatch(client, i) for i, client in enumerate(clients)]


def of_equal_work(config: RunConfig, count: int) -> list[int]:
    """Clients whose order of passes is that of their dispatches."""
    sizes = [len(part) for part in config.clients]
    size = max(set(sizes), key=sizes.count)
    return [client for client, own in enumerate(sizes) if own == size][:count]


def test_the_next_chunk_trains_while_uploads_are_encoded(monkeypatch: pytest.MonkeyPatch):
    """The second pass begins before, and ends only once, the first one's last is answered."""
    config = config_of()
    learner = learner_of(config, ahead=True)
    sent = send(learner, of_equal_work(config, 4))
    begun, answered, real, number = threading.Event(), threading.Event(), module.train_together, 0

    def held(*arguments):
        nonlocal number
        number += 1
        if number == 2:
            begun.set()
            assert answered.wait(WAIT_S)
        return real(*arguments)

    monkeypatch.setattr(module, "train_together", held)
    learner.train(sent[0], NO_STATE)
    assert begun.wait(WAIT_S)
    learner.train(sent[1], NO_STATE)
    answered.set()
    for one in sent[2:]:
        learner.train(one, NO_STATE)
    assert number == 2


def test_whoever_is_asked_for_others_are_encoded_while_a_pass_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
):
    """The second pass ends only once the other client of the first has been encoded, unasked."""
    config = config_of()
    learner, twin = learner_of(config, ahead=True), learner_of(config)
    clients = of_equal_work(config, 4)
    expected = [twin.train(one, NO_STATE) for one in send(twin, clients)]
    sent = send(learner, clients)
    encoded, real, upload, number = threading.Event(), module.train_together, [], 0
    exchange, own = type(learner._exchange), type(learner._exchange).upload

    def held(*arguments):
        nonlocal number
        number += 1
        assert number < 2 or encoded.wait(WAIT_S)
        return real(*arguments)

    def counted(self, update_N, tier, client, *arguments):
        upload.append(client)
        if client == clients[1]:
            encoded.set()
        return own(self, update_N, tier, client, *arguments)

    monkeypatch.setattr(module, "train_together", held)
    monkeypatch.setattr(exchange, "upload", counted)
    found = [learner.train(sent[i], NO_STATE) for i in (0, 3, 1, 2)]
    assert found == [expected[i] for i in (0, 3, 1, 2)]
    assert sorted(upload) == sorted(clients)  # each once


def test_what_depends_on_what_a_client_kept_waits_until_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(Prefetch, "wait_until_idle", at_leisure)
    config = config_of(METHODS["error feedback"])
    learner, twin = learner_of(config, ahead=True), learner_of(config)
    clients = of_equal_work(config, 6)
    kept = np.random.default_rng(0).normal(size=(6, config.layout.entries)).astype(np.float32)
    sent = list(zip(send(learner, clients), send(twin, clients), kept, strict=True))
    for ours, theirs, kept_N in sent[::2] + sent[1::2]:  # the first of each chunk first
        state = {RESIDUAL: kept_N}
        assert learner.train(ours, state).blob == twin.train(theirs, state).blob


def test_where_rounds_wait_for_all_no_pass_is_computed_twice(passes):
    config = config_of()
    run(config, load_profile("lte"), learner_of(config), rounds=4)
    plain = [size for size, _ in passes]
    passes.clear()
    run(config, load_profile("lte"), learner_of(config, ahead=True), rounds=4)
    assert [size for size, _ in passes].count(2) == plain.count(2)
    assert sum(size for size, _ in passes) == sum(plain)


def test_guesses_that_do_not_pay_are_given_up(passes):
    learner = learner_of(config_of(), ahead=True)
    for turn in range(6):
        for i in range(3):
            learner.dispatch(of_equal_work(learner.config, 3)[i], 10 * turn + i)
        sent = list(learner._under_way.values())
        learner.train(sent[0], NO_STATE)  # the third one is begun, and lost
        for one in sent:
            learner.forget(one)
    learner._ahead.wait_until_idle(lambda: False)
    assert [size for size, _ in passes].count(1) == 3


def test_a_model_is_evaluated_between_passes(monkeypatch: pytest.MonkeyPatch):
    busy, met, real = threading.Event(), [], module.train_together

    def slow(*arguments):
        busy.set()
        time.sleep(0.05)
        trained = real(*arguments)
        busy.clear()
        return trained

    measure = learner_module.measure
    monkeypatch.setattr(module, "train_together", slow)
    monkeypatch.setattr(
        learner_module, "measure", lambda *given: met.append(busy.is_set()) or measure(*given)
    )
    learner = learner_of(config_of(), ahead=True)
    learner.train(send(learner)[0], NO_STATE)
    assert busy.wait(WAIT_S)  # the next one has begun
    learner.evaluate(0)
    assert met
    assert not any(met)


def test_a_grid_overlaps_for_itself():
    config = config_of()
    grid = PassScheduler(torch.device("cpu"))
    model = open_learner(config, "cpu")._model
    with grid.membership():
        learner = BankLearner(config, model, 2, grid, ahead=True)
        for one in send(learner):
            learner.train(one, NO_STATE)
    assert not pass_threads()


@pytest.mark.parametrize(("device", "on"), [("cpu", False), ("mps", False), ("cuda", True)])
def test_what_is_done_by_default_depends_on_the_device(
    device: str, on: bool, monkeypatch: pytest.MonkeyPatch
):
    config = config_of()
    model = open_learner(config, "cpu")._model
    monkeypatch.setattr(type(model), "device", property(lambda self: torch.device(device)))
    monkeypatch.setattr(learner_module, "device_tensors", lambda arrays, place: arrays)
    learner = BankLearner(config, model, 2)
    assert learner._passes.ranks == on
    assert (learner._ahead is not None) == on


@pytest.mark.parametrize("first", [1, 2, 3])
def test_memory_that_ends_in_a_thread_halves_passes_and_that_is_said_once(
    first: int, monkeypatch: pytest.MonkeyPatch
):
    """From some pass on, two clients do not fit; asked for or begun ahead, it comes to the same."""
    config = config_of()
    real = module.train_together
    found = []
    for ahead in (False, True):
        number = 0

        def limited(model, x, y, settings, works):
            nonlocal number
            number += len(works) == 2
            if number >= first and len(works) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(model, x, y, settings, works)

        monkeypatch.setattr(module, "train_together", limited)
        learner = learner_of(config, ranks=ahead, ahead=ahead)
        with pytest.warns(RuntimeWarning, match="2 clients .* continuing with 1") as said:
            record = run(config, load_profile("lte"), learner, rounds=3)
        assert len(said) == 1
        found.append(record)
    assert found[0].rounds.equals(found[1].rounds)
    assert found[0].transfers.equals(found[1].transfers)


def test_an_error_in_a_thread_is_raised_where_its_pass_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
):
    config = config_of()
    real, failed = module.train_together, threading.Event()
    bad = of_equal_work(config, 4)[3]
    seen = set(config.clients[bad].tolist())

    def failing(model, x, y, settings, works):
        if any(seen & set(work.batches[0].tolist()) for work in works):
            failed.set()
            raise TaskError("a text has 99 tokens")
        return real(model, x, y, settings, works)

    monkeypatch.setattr(module, "train_together", failing)
    learner = learner_of(config, ahead=True)
    sent = send(learner, of_equal_work(config, 4))
    learner.train(sent[0], NO_STATE)
    assert failed.wait(WAIT_S)  # in the thread
    learner.train(sent[1], NO_STATE)
    with pytest.raises(TaskError, match="99 tokens"):
        learner.train(sent[2], NO_STATE)


def test_ctrl_c_is_heard_while_a_pass_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    """The pass ends by itself, and the learner can be asked again."""
    config = config_of()
    learner, twin = learner_of(config, ahead=True), learner_of(config)
    expected = [twin.train(one, NO_STATE) for one in send(twin)]
    sent = send(learner)
    heard, real = threading.Event(), module.train_together

    def interrupting(*arguments):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert heard.wait(WAIT_S)
        return real(*arguments)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(module, "train_together", interrupting)
            with pytest.raises(KeyboardInterrupt):
                learner.train(sent[0], NO_STATE)
            heard.set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert [learner.train(one, NO_STATE) for one in sent] == expected


def test_an_update_that_is_not_finite_is_an_error_of_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
):
    """Encoded unasked, it raises nothing: its client may never get as far."""
    config = config_of()
    real, number = module.train_together, 0

    def broken(model, x, y, settings, works):
        nonlocal number
        number += 1
        values_CN = real(model, x, y, settings, works)
        if number == 1:
            values_CN[1, 5] = float("nan")
        else:
            time.sleep(0.2)  # there is time to encode what can be
        return values_CN

    monkeypatch.setattr(module, "train_together", broken)
    learner = learner_of(config, ranks=True, ahead=True)
    clients = of_equal_work(config, 4)
    sent = send(learner, clients)
    for i in (0, 2, 3):
        learner.train(sent[i], NO_STATE)
    assert not learner._to_encode
    with pytest.raises(NonFiniteUpdateError, match=f"client {clients[1]} from version 0"):
        learner.train(sent[1], NO_STATE)


def test_what_a_checkpoint_holds_is_what_is_computed_and_not_over():
    learner = learner_of(config_of(), ahead=True)
    sent = send(learner, of_equal_work(learner.config, 4))
    learner.train(sent[0], NO_STATE)
    learner._ahead.wait_until_idle(
        lambda: False
    )  # the next pass is done, and nobody has asked for it
    kept = {name for name in learner.snapshot().tensors if name.startswith("update/")}
    assert kept == {"update/0", "update/1"}


def test_a_learner_that_is_restored_knows_nothing_of_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Prefetch, "wait_until_idle", at_leisure)
    config = config_of()
    learner, twin = learner_of(config, ahead=True), learner_of(config)
    first, *clients = of_equal_work(config, 5)
    mine, others = send(learner, [first, *clients[:3]]), send(twin, clients)
    for one in mine[::2]:
        learner.train(one, NO_STATE)
    assert learner._encoded_early
    learner.restore(replace(twin.snapshot(), in_flight=tuple(others)))
    for one in others:
        assert learner.train(one, NO_STATE) == twin.train(one, NO_STATE)


def test_no_thread_outlives_its_learner(monkeypatch: pytest.MonkeyPatch):
    real, begun = module.train_together, threading.Event()

    def slow(model, x, y, settings, works):
        begun.set()
        time.sleep(0.1)
        return real(model, x, y, settings, works)

    learner = learner_of(config_of(), ahead=True)
    learner.train(send(learner)[0], NO_STATE)
    learner._ahead.wait_until_idle(lambda: False)
    monkeypatch.setattr(module, "train_together", slow)
    learner.train(learner.dispatch(9, 9), NO_STATE)
    assert len(pass_threads()) == 1
    learner.dispatch(10, 10)
    learner.dispatch(11, 11)
    begun.clear()
    learner._begin_next(learner._ahead)
    assert begun.wait(WAIT_S)  # it goes on while its learner is let go
    gc.disable()
    try:
        del learner
        assert not pass_threads()
    finally:
        gc.enable()


def test_a_thread_that_is_the_last_to_let_go_does_not_wait_for_itself():
    """As where the collector, which runs in any thread, finds a learner there."""
    held, alone, over = [Prefetch()], threading.Event(), threading.Event()

    def let_go() -> None:
        assert alone.wait(WAIT_S)
        held.clear()
        over.set()

    held[0].begin([], lambda: let_go)
    threads = pass_threads()
    alone.set()
    assert over.wait(WAIT_S)
    for thread in threads:
        thread.join(WAIT_S)
    assert not pass_threads()


class Large:
    """What a pass holds."""


@pytest.mark.parametrize("begun", [False, True])
def test_a_pass_that_fails_lets_go_of_all_that_it_held(begun: bool):
    """Without the collector, which rests during a round: memory must be free for the next try."""
    held: list[weakref.ref[Large]] = []

    def failing() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise MemoryError

    def attempt(ahead: Prefetch[None]) -> None:
        try:
            if begun:
                ahead.begin([], lambda: failing)
                assert ahead.take([], lambda: False) is None
            else:
                ahead.run(failing, lambda: False)
        except MemoryError:
            pass

    ahead: Prefetch[None] = Prefetch()
    gc.disable()
    try:
        attempt(ahead)
        assert held
        assert held[0]() is None
    finally:
        gc.enable()


def test_passes_come_one_at_a_time_and_in_their_order():
    order, at_work = [], 0

    def task(number: int) -> int:
        nonlocal at_work
        at_work += 1
        order.append((number, at_work))
        time.sleep(0.02)
        at_work -= 1
        return number

    ahead: Prefetch[int] = Prefetch()
    chunk = [Dispatch(0, 0, 0, 0, 0)]
    ahead.begin(chunk, lambda: lambda: task(1))
    assert ahead.run(lambda: task(2), lambda: False) == 2
    assert ahead.take(chunk, lambda: False) == 1
    assert ahead.take(chunk, lambda: False) is None
    assert order == [(1, 1), (2, 1)]
