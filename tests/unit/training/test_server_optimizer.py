"""The server's optimisers against their published recursions, written apart in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from floss_sim import RunConfig, dense, load_task, open_learner, run
from floss_sim.errors import NonFiniteUpdateError
from floss_sim.methods import Exchange, method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.protocol import NO_STATE, Arrival, Upload
from floss_sim.protocol.weighting import weights
from floss_sim.runs import config as config_module
from floss_sim.tasks.sections import ServerSection
from floss_sim.training.server_optimizer import BasisChange, ServerOptimizer

N, LR, TAU, MOMENTUM, DECAY = 7, 0.05, 0.01, 0.8, 0.1
KEPT = np.array([True, False, True, True, False, True, True])
Recursion = Callable[[np.ndarray], Iterator[tuple[np.ndarray, ...]]]

# Each recursion is given p, then a gradient a step; it yields p and its moments, which the test
# may set to zero in place, as a server that prunes does.


def fedavg(p):
    while True:
        g = yield (p,)
        p -= LR * g


def fedavgm(p):
    u = np.zeros(N)
    while True:
        g = yield p, u
        u *= MOMENTUM
        u += g
        p -= LR * u


def fedadam(p, decay=0.0):
    m, v, t = np.zeros(N), np.zeros(N), 0
    while True:
        g = yield p, m, v
        t += 1
        p *= 1 - LR * decay  # Loshchilov and Hutter: decay apart from the gradient
        m *= 0.9
        m += 0.1 * g
        v *= 0.999
        v += 0.001 * g**2
        p -= LR * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def fedadamw(p):
    return fedadam(p, DECAY)


def fedyogi(p):
    m, v = np.zeros(N), np.full(N, TAU**2)
    while True:
        g = yield p, m, v
        m *= 0.9
        m += 0.1 * g
        v -= 0.01 * g**2 * np.sign(v - g**2)
        p -= LR * m / (np.sqrt(v) + TAU)


def fedadagrad(p):
    v = np.full(N, TAU**2)
    while True:
        g = yield p, v
        v += g**2
        p -= LR * g / (np.sqrt(v) + TAU)


RECURSIONS = [fedavg, fedavgm, fedadam, fedadamw, fedyogi, fedadagrad]
each = pytest.mark.parametrize("recursion", RECURSIONS)


def server_of(recursion, p: np.ndarray) -> ServerOptimizer:
    settings = ServerSection(
        optimizer=recursion.__name__, learning_rate=LR, cohort=1, momentum=MOMENTUM, tau=TAU,
        weight_decay=DECAY,
    )  # fmt: skip
    return ServerOptimizer(p, settings)


def gradients(count: int = 8) -> list[np.ndarray]:
    """Large ones and small ones, so that Yogi's v grows and shrinks."""
    draw = np.random.default_rng(1)
    scales = [1, 1, 0.1, 3, 0.01, 0, 1, 0.03]
    return [(draw.normal(size=N) * scales[i]).astype(np.float32) for i in range(count)]


def start() -> np.ndarray:
    return np.random.default_rng(0).normal(size=N).astype(np.float32)


@each
def test_eight_steps_follow_the_published_recursion(recursion):
    server, slow = server_of(recursion, start()), recursion(start().astype(np.float64))
    (p, *_) = next(slow)
    for gradient in gradients():
        server.step(gradient)
        slow.send(gradient.astype(np.float64))
        assert server.vector() == pytest.approx(p, rel=1e-5, abs=1e-7)


@each
def test_pruned_entries_and_their_moments_are_zero_and_stay_so(recursion):
    server, slow = server_of(recursion, start()), recursion(start().astype(np.float64))
    arrays = next(slow)
    for step, gradient in enumerate(gradients()):
        # A client that trains a mask returns nothing outside of it.
        gradient = gradient if step < 3 else np.where(KEPT, gradient, np.float32(0))
        server.step(gradient)
        slow.send(gradient.astype(np.float64))
        if step >= 2:
            server.prune(KEPT)
            for array in arrays:
                array[~KEPT] = 0
            state = server.state()
            assert all(not t[~KEPT].any() for t in state.values() if t.shape == (N,))
        assert server.vector() == pytest.approx(arrays[0], rel=1e-5, abs=1e-7)
    assert np.abs(server.vector()[KEPT]).min() > 0


@each
def test_moments_follow_a_change_of_the_basis(recursion):
    """B (3 x 2) of the last entries becomes B T; squares of independent entries add up."""
    server, slow = server_of(recursion, start()), recursion(start().astype(np.float64))
    turn = np.random.default_rng(2).normal(size=(2, 2))
    arrays = next(slow)
    for step, gradient in enumerate(gradients()):
        server.step(gradient)
        slow.send(gradient.astype(np.float64))
        if step == 2:
            for number, array in enumerate(arrays):
                of_squares = number and number == len(arrays) - 1 and recursion is not fedavgm
                b, new = array[1:].reshape(3, 2), np.zeros((3, 2))
                for row in range(3):
                    for i in range(2):
                        for j in range(2):
                            factor = turn[i, j] ** 2 if of_squares else turn[i, j]
                            new[row, j] += b[row, i] * factor
                array[1:] = new.ravel()
            change = BasisChange(slice(1, 7), (3, 2), turn)
            server.refactor(arrays[0].astype(np.float32), [change])
        assert server.vector() == pytest.approx(arrays[0], rel=1e-5, abs=1e-7)


@each
def test_a_restored_server_goes_on_bit_for_bit(recursion):
    straight, stopped = server_of(recursion, start()), server_of(recursion, start())
    for gradient in gradients()[:4]:
        straight.step(gradient)
        stopped.step(gradient)
    straight.prune(KEPT)
    stopped.prune(KEPT)
    resumed = server_of(recursion, np.zeros(N, np.float32))
    resumed.restore(stopped.state() | {"lost_at": np.zeros(N, np.int32)})
    for gradient in gradients()[4:]:
        straight.step(gradient)
        resumed.step(gradient)
    one, other = straight.state(), resumed.state()
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


@each
def test_a_server_that_is_set_back_to_its_beginning_forgets_its_moments(recursion):
    used, fresh = server_of(recursion, start()), server_of(recursion, start())
    begin = used.state()
    for gradient in gradients()[:3]:
        used.step(gradient)
    used.restore(begin)
    assert used.state().keys() == begin.keys()
    for server in (used, fresh):
        server.step(gradients()[3])
    one, other = used.state(), fresh.state()
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


@each
def test_a_state_is_a_copy(recursion):
    server = server_of(recursion, start())
    server.step(gradients()[0])
    state = server.state()
    before = {name: tensor.copy() for name, tensor in state.items()}
    server.step(gradients()[1])
    assert all(np.array_equal(state[name], before[name]) for name in state)


def test_the_first_steps_of_fedavg_and_fedavgm_are_the_same():
    servers = [server_of(recursion, start()) for recursion in (fedavg, fedavgm)]
    for server in servers:
        server.step(gradients()[0])
    assert np.array_equal(servers[0].vector(), servers[1].vector())


# weights


def uploads(*examples: int) -> list[Upload]:
    return [Upload(i, i, 100, 1, count) for i, count in enumerate(examples)]


def test_uniform_weights_are_equal_and_those_by_examples_proportional():
    assert weights(uploads(10, 30, 60), "uniform") == pytest.approx([1 / 3] * 3)
    assert weights(uploads(10, 30, 60), "examples") == pytest.approx([0.1, 0.3, 0.6])
    assert weights(uploads(7), "examples") == weights(uploads(7), "uniform") == [1]


@pytest.mark.parametrize("law", ["uniform", "examples"])
def test_weights_add_up_to_one(law: str):
    draw = np.random.default_rng(0)
    for count in (1, 3, 10, 500):
        shares = weights(uploads(*draw.integers(1, 1000, count).tolist()), law)
        assert sum(shares) == pytest.approx(1, rel=1e-12)
        assert min(shares) > 0


def test_weights_by_examples_change_what_unequal_clients_learn(
    paper: NetworkProfile, monkeypatch: pytest.MonkeyPatch
):
    """The packaged laws deal equal parts, so that these are dealt by hand: 5 to 44 examples."""
    parts = tuple(np.arange(20 * client, 21 * client + 5) for client in range(40))
    monkeypatch.setattr(config_module, "_clients", lambda *_: parts)
    vectors = {}
    for weighting in ("uniform", "examples"):
        config = RunConfig.of(load_task("digits"), dense(), rank=2).with_(
            fleet={"clients": 40},
            server={"weighting": weighting, "optimizer": "fedavg", "learning_rate": 1.0},
        )
        learner = open_learner(config, "cpu")
        record = run(config, paper, learner, rounds=1)
        vectors[weighting] = learner.snapshot().tensors["P"]
    sizes = record.transfers.to_pandas().query("direction == 'up'").examples
    assert sizes.max() > 2 * sizes.min()
    assert np.abs(vectors["uniform"] - vectors["examples"]).max() > 1e-4


def test_the_mean_by_examples_is_the_weighted_mean_of_the_decoded_updates(digits: RunConfig):
    config = digits.with_(server={"optimizer": "fedavg", "learning_rate": 1.0})
    learner = open_learner(config, "cpu")
    exchange = Exchange(config.method, config.layout, config.seed)
    given = [learner.dispatch(client, client) for client in (3, 8)]
    sent = [learner.train(dispatch, NO_STATE) for dispatch in given]
    before = learner.snapshot().tensors["P"]
    learner.aggregate([Arrival(given[0], sent[0], 0.25, 0), Arrival(given[1], sent[1], 0.75, 0)])
    first, second = (exchange.decode_upload(upload.blob, None).astype(float) for upload in sent)
    expected = before - (0.25 * first + 0.75 * second)
    assert learner.snapshot().tensors["P"] == pytest.approx(expected, abs=1e-6)


# partly covered entries


@pytest.mark.parametrize("divisor", ["cohort", "covering"])
def test_the_divisor_of_entries_that_some_clients_do_not_hold(digits: RunConfig, divisor: str):
    """Client 0 trains both ranks, client 49 one of them."""
    method = method_from_name("hetlora", tiers="1:2,1:1", divisor=divisor)
    config = RunConfig.of(digits.task, method, rank=2).with_(
        server={"optimizer": "fedavg", "learning_rate": 1.0}
    )
    learner = open_learner(config, "cpu")
    exchange = Exchange(method, config.layout, config.seed)
    before, arrivals, sent, masks = learner.snapshot().tensors["P"], [], [], []
    for sequence, client in enumerate((0, 49)):
        dispatch = learner.dispatch(client, sequence)
        tier = method.tier_of(client, 50)
        known = exchange.known_download_mask(learner._server.masks, tier, 0, 0)
        _, trained = exchange.decode_download(dispatch.blob, tier, 0, known)
        masks.append(np.ones(before.size, bool) if trained is None else trained)
        sent.append(learner.train(dispatch, NO_STATE))
        arrivals.append(Arrival(dispatch, sent[-1], 0.5, 0))
    learner.aggregate(arrivals)
    updates = [
        exchange.decode_upload(upload.blob, None if mask.all() else mask)
        for upload, mask in zip(sent, masks, strict=True)
    ]
    covering = np.maximum(masks[0].astype(int) + masks[1], 1) if divisor == "covering" else 2
    expected = before - (updates[0] + updates[1]) / covering
    assert masks[0].all()
    assert not masks[1].all()
    assert learner.snapshot().tensors["P"] == pytest.approx(expected, abs=1e-6)


def test_a_cohort_of_ten_that_covers_all_is_a_mean_bit_for_bit(
    digits: RunConfig, paper: NetworkProfile
):
    """Ten times 0.1 is not 1 in float32."""
    vectors = []
    for divisor in ("cohort", "covering"):
        method = method_from_name("hetlora", tiers="1:2", divisor=divisor)
        config = RunConfig.of(digits.task, method, rank=2).with_(server={"cohort": 10})
        learner = open_learner(config, "cpu")
        run(config, paper, learner, rounds=1)
        vectors.append(learner.snapshot().tensors["P"])
    assert np.array_equal(*vectors)


def test_a_server_that_diverges_before_it_prunes_is_named(digits: RunConfig):
    """Yogi's v is infinite less infinite: NaN, of which no largest entries can be taken."""
    method = method_from_name("adapter-lth", factor=0.5)
    config = RunConfig.of(digits.task, method, rank=2).with_(server={"optimizer": "fedyogi"})
    learner = open_learner(config, "cpu")
    exchange = Exchange(method, config.layout, config.seed)
    huge = np.full(config.layout.entries, 1e30, np.float32)
    with pytest.raises(NonFiniteUpdateError, match="not finite after round"):
        for sequence in range(3):
            dispatch = learner.dispatch(0, sequence)
            alive = learner._server.masks.alive_mask()
            known = None if alive.all() else alive
            reply = exchange.upload(huge * alive, 0, 0, sequence, known, NO_STATE)
            upload = Upload(sequence, 0, len(reply.blob), reply.entries, 1, reply.blob)
            learner.aggregate([Arrival(dispatch, upload, 1.0, 0)])
