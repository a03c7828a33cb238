"""Interrupted runs whose clients and masks have a memory, against runs that never stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from floss_sim import RunConfig, RunFolder, load_profile, load_task, run
from floss_sim.errors import RecordError
from floss_sim.methods import Exchange, method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.protocol import Learner, LearnerIdentity, Snapshot
from floss_sim.records.checkpoint import pack, unpack
from floss_sim.runs.conditions import conditions
from floss_sim.simulator import RoundPolicy, buffered, deadline, first_k
from floss_sim.training import open_learner
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.learners.sequential_learner import SequentialLearner

METHODS = {
    "error feedback": method_from_name(
        "floss", down_density=1 / 4, up_density=1 / 16, error_feedback=True, up_values="int4"
    ),
    "a shrinking mask with a ledger": method_from_name(
        "adapter-lth", factor=0.8, mask_ledger=True, error_feedback=True, up_values="int8"
    ),
    "new masks beside those that are held": method_from_name(
        "floss", down_density=1 / 4, up_density=1 / 16, mask_ledger=True
    ),
    "a frozen mask with a ledger": method_from_name(
        "sparse-adapter", scope="tensor", mask_ledger=True
    ),
}
POLICIES = {
    "first-k": first_k(2, late="finish"),
    "deadline": deadline(0.2, minimum=2),
    "buffered": buffered(2),
}
STOPS, ROUNDS = 3, 6
KINDS = {"bank": BankLearner, "sequential": SequentialLearner}
CHUNK = {"bank": (3,), "sequential": ()}  # a cohort in two passes


def again(kind: str, config: RunConfig, learner, dies: bool = False):
    """Return a new learner of the kind, with a learner's model."""

    class Dies(KINDS[kind]):
        def aggregate(self, arrivals):
            if dies and self.version == STOPS:
                raise KeyboardInterrupt
            return super().aggregate(arrivals)

    return Dies(config, learner._model, *CHUNK[kind])


@pytest.fixture(params=METHODS.values(), ids=METHODS.keys())
def config(request: pytest.FixtureRequest) -> RunConfig:
    """A small fleet, so that clients come back."""
    chosen = RunConfig.of(load_task("digits"), request.param, rank=2)
    return chosen.with_(fleet={"clients": 30}, server={"cohort": 5, "optimizer": "fedyogi"})


def folder_of(path: Path, config: RunConfig, learner: Learner) -> RunFolder:
    return RunFolder.open(path, config.description(learner.identity))


def same(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots hold the same arrays, bit for bit."""
    packed, others = pack(one), pack(other)
    return packed.keys() == others.keys() and all(
        np.array_equal(packed[name], others[name]) for name in packed
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_goes_on_bit_for_bit(
    kind: str, config: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    learner = again(kind, config, open_learner(config, "cpu", learner=kind))
    whole, killed = (folder_of(tmp_path / name, config, learner) for name in ("whole", "killed"))
    run(config, paper, learner, rounds=ROUNDS, folder=whole, eval_every=3)
    dying = again(kind, config, learner, dies=True)
    with pytest.raises(KeyboardInterrupt):
        run(config, paper, dying, rounds=ROUNDS, folder=killed, eval_every=3, commit_every_s=0)
    assert killed.manifest().rounds == STOPS
    fresh = again(kind, config, learner)
    run(config, paper, fresh, rounds=ROUNDS, folder=killed, eval_every=3)
    assert killed.record().rounds.equals(whole.record().rounds)
    assert killed.record().transfers.equals(whole.record().transfers)
    assert killed.model(ROUNDS) == whole.model(ROUNDS)
    assert same(killed.snapshot(), whole.snapshot())


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_an_interrupted_run_goes_on_bit_for_bit_whatever_its_policy(
    config: RunConfig, policy: RoundPolicy, tmp_path: Path
):
    """Clients are in flight at every stop, some of them trained and not arrived."""
    kind = "bank"  # it alone keeps anything of them

    network = load_profile("lte")
    learner = again(kind, config, open_learner(config, "cpu", learner=kind))
    shaped = config.description(learner.identity, conditions(network, policy))
    whole, killed = (RunFolder.open(tmp_path / name, shaped) for name in ("whole", "killed"))
    run(config, network, learner, rounds=ROUNDS, policy=policy, folder=whole, eval_every=3)
    dying = again(kind, config, learner, dies=True)
    with pytest.raises(KeyboardInterrupt):
        run(
            config, network, dying, rounds=ROUNDS, policy=policy, folder=killed, eval_every=3,
            commit_every_s=0,
        )  # fmt: skip
    assert killed.manifest().rounds == STOPS
    assert bool(killed.snapshot().in_flight) == (policy.late != "cancel")
    fresh = again(kind, config, learner)
    run(config, network, fresh, rounds=ROUNDS, policy=policy, folder=killed, eval_every=3)
    assert killed.record().rounds.equals(whole.record().rounds)
    assert killed.record().transfers.equals(whole.record().transfers)
    assert killed.model(ROUNDS) == whole.model(ROUNDS)
    assert same(killed.snapshot(), whole.snapshot())
    late = set(whole.record().transfers["fate"].to_pylist()) - {"aggregated"}
    assert bool(late) == (policy.name in ("first-k", "deadline"))


def test_the_mass_of_an_update_that_is_lost_stays_with_its_client(tmp_path: Path):
    chosen = RunConfig.of(load_task("digits"), METHODS["error feedback"], rank=2)
    chosen = chosen.with_(fleet={"clients": 30}, server={"cohort": 5})
    network, policy = load_profile("lte"), first_k(2)
    learner = open_learner(chosen, "cpu")
    shaped = chosen.description(learner.identity, conditions(network, policy))
    folder = RunFolder.open(tmp_path / "run", shaped)
    record = run(chosen, network, learner, rounds=1, policy=policy, folder=folder)
    ups = record.transfers.to_pandas().query("direction == 'up'")
    lost, kept = ups[ups.fate == "cancelled"], ups[ups.fate == "aggregated"]
    assert len(kept) == 2
    assert len(lost)
    exchange = Exchange(chosen.method, chosen.layout, chosen.seed)
    repeated = open_learner(chosen, "cpu")
    for row in (*lost.itertuples(), *kept.itertuples()):
        upload = repeated.train(repeated.dispatch(row.client, row.sequence), {})
        unsent = folder.snapshot().clients[row.client]["residual"]
        sent = 0 if row.fate == "aggregated" else exchange.decode_upload(upload.blob, None)
        assert unsent - upload.client_state["residual"] == pytest.approx(sent, abs=1e-6)


def test_client_states_and_masks_are_in_the_checkpoint(
    config: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    learner = open_learner(config, "cpu")
    folder = folder_of(tmp_path / "run", config, learner)
    record = run(config, paper, learner, rounds=3, folder=folder)
    snapshot = folder.snapshot()
    took_part = set(record.transfers["client"].to_pylist())
    assert set(snapshot.clients) == (took_part if config.method.error_feedback else set())
    for state in snapshot.clients.values():
        assert state["residual"].shape == (config.layout.entries,)
        assert state["residual"].any()
    has_ledger = config.method.mask_ledger or config.method.change_ledger
    assert ("held" in snapshot.tensors) == has_ledger
    if config.method.mask_ledger:
        keys = {version for _, version in snapshot.tensors["held_keys"].tolist()}
        assert keys == ({1, 2} if config.method.persistent is None else set())
    if config.method.persistent and config.method.mask_ledger:
        held = snapshot.tensors["held"]
        downloads = record.transfers.to_pandas().query("direction == 'down'")
        for client, version in downloads.groupby("client").version.max().items():
            assert held[client] == version
        lost_at = snapshot.tensors["lost_at"]
        assert not snapshot.tensors["P"][lost_at > 0].any()
        assert (lost_at == 0).sum() == config.method.persistent.at(3).count(config.layout)


def test_a_folder_timed_anew_keeps_what_its_clients_keep(
    config: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    learner = open_learner(config, "cpu")
    folder = folder_of(tmp_path / "run", config, learner)
    run(config, paper, learner, rounds=3, folder=folder)
    before = folder.snapshot()
    idle = open_learner(config, "cpu")
    run(config, load_profile("lte"), idle, rounds=3, folder=folder)
    assert same(folder.snapshot(), before)


def test_client_states_are_packed_by_client_and_name():
    states = {3: {"residual": np.ones(2, np.float32)}, 12: {"residual": np.zeros(2, np.float32)}}
    snapshot = Snapshot(5, {"P": np.arange(2, dtype=np.float32)}, states)
    assert set(pack(snapshot)) == {"P", "client/3/residual", "client/12/residual"}
    assert same(unpack(5, pack(snapshot)), snapshot)
    assert set(unpack(5, pack(snapshot)).clients) == {3, 12}


@pytest.mark.parametrize(
    "lie",
    [
        LearnerIdentity("torch-bank-32", "cuda", 8),
        LearnerIdentity("torch-bank-32"),
        LearnerIdentity("torch-sequential", "cpu", 2),
        LearnerIdentity("torch-sequential", "cuda"),
    ],
)
def test_a_run_folder_cannot_lie_about_its_learner(
    lie: LearnerIdentity, paper: NetworkProfile, tmp_path: Path
):
    chosen = RunConfig.of(load_task("digits"), METHODS["error feedback"], rank=2)
    folder = RunFolder.open(tmp_path / "run", chosen.description(lie))
    learner = open_learner(chosen, "cpu", learner="sequential")
    with pytest.raises(RecordError) as caught:
        run(chosen, paper, learner, rounds=1, folder=folder)
    assert lie.describe() in str(caught.value)
    assert "torch-sequential on cpu with 1 thread(s)" in str(caught.value)
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]
