"""Plans by the mean over clients of each one's own model: ``floss-plan --accuracy own``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import call

from floss_sim import RunFolder
from floss_sim.errors import ConfigError
from floss_sim.records.on_test import pack_own, read_own
from floss_sim.records.schema import OWN_COLUMNS
from floss_sim.runs.own_data import OWN_LABEL
from floss_sim.training import measure_own_on_test
from planner import Request, answer, apply_plan, grid, plan, read_plan
from planner.candidates import with_axes
from planner.execution.curve_store import CurveStore
from planner.forecasts.features import features, varying_columns
from planner.plans.plan import Plan

FEW = {
    "partition.clients": 8, "server.cohort": 2, "data.limit": 400, "data.validation": 60,
    "data.test": 60,
}  # fmt: skip
OPTIONS = ["--ranks", "2", "--down-densities", "1", "--up-densities", "1", "--methods"]


def asked(**changes) -> Request:
    """Return a request of one FedSA-LoRA candidate on few clients and examples."""
    settings = {
        "budget": "5-dense-rounds", "max_rounds": 2, "reference_rank": 4, "effort": 1,
        "lr_test": False, "accuracy": "own", "changes": FEW,
        "candidates": with_axes(grid([4], [1.0], [1.0]), methods=["fedsa-lora"]),
    }  # fmt: skip
    return Request.of("digits", "paper-200-20", **{**settings, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """A plan, and its store."""
    store = tmp_path_factory.mktemp("store")
    return plan(asked(), store=store, workers=1), store


def test_an_own_plan_is_of_runs_in_a_folder_of_their_own(made: tuple[Plan, Path]):
    planned, store = made
    assert planned.recommendation.candidate.method == "fedsa-lora"
    assert [path.name for path in store.iterdir()] == ["own"]
    curves = CurveStore(store / "own", "cpu", own=True)
    for outcome in (planned.recommendation, *planned.baselines.values()):
        assert outcome is not None
        config = outcome.candidate.config(asked().task, 0)
        folder = curves.folder(config)
        row = RunFolder.read(folder.path).record().rounds.to_pylist()[outcome.rounds - 1]
        assert [outcome.accuracy, outcome.loss] == [row[name] for name in OWN_COLUMNS.names]
        assert outcome.accuracy != row["accuracy"]
        assert (outcome.test is not None) == (folder.test_metrics(outcome.rounds) is not None)
    (found,) = answer(asked(), store=store, device="cpu")
    assert (found.kind, found.accuracy) == ("measured", planned.recommendation.expected_accuracy)
    dense = asked(accuracy="global", candidates=grid([4], [1.0], [1.0]), prior=None)
    (other,) = answer(dense, store=store, device="cpu")
    assert (other.kind, other.measured) == ("unknown", 0)
    again = plan(asked(), store=store, workers=1)
    assert again.effort["trained_now_rounds"] == 0
    assert again.recommendation == planned.recommendation


def test_its_report_says_once_what_accuracies_are_and_is_read_again(
    made: tuple[Plan, Path], tmp_path: Path
):
    planned, _ = made
    assert planned.summary().count(OWN_LABEL) == 1
    planned.save(tmp_path)
    again = read_plan(tmp_path)
    assert again.to_json() == planned.to_json()
    assert (again.request["accuracy"], again.most_frequent) == ("own", None)
    assert again.chance == asked().chance_accuracy()
    nothing = replace(again, best_accuracy=again.chance)
    assert "always predicting each client's most frequent class" in nothing.summary()


def test_its_model_is_applied_by_its_measure(made: tuple[Plan, Path], tmp_path: Path):
    planned, store = made
    applied = apply_plan(planned, seed=1, store=store, device="cpu", out=tmp_path / "applied")
    end = RunFolder.read(applied.folder.path).record().rounds.to_pylist()[-1]
    assert (applied.trained, applied.folder.path.parent) == (2, store / "own")
    assert applied.outcome.accuracy == end["own_accuracy"] != end["accuracy"]
    alone = measure_own_on_test(applied.config, applied.folder.snapshot(), "cpu")
    assert applied.outcome.test is not None
    assert applied.outcome.test.mean == pytest.approx(alone.accuracy, abs=1e-6)
    assert OWN_LABEL in (tmp_path / "applied" / "adapter" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("committed", [True, False])
def test_a_process_that_ends_around_a_commit_loses_no_own_test(
    made: tuple[Plan, Path], committed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    commit, config = RunFolder.commit, asked().config(asked().candidates[0])

    def killed(folder: RunFolder, *rows, **rest) -> None:
        assert folder.own_on_test([1])  # before the commit
        if committed:
            commit(folder, *rows, **rest)
        raise Killed

    whole, ended = (CurveStore(root / "own", "cpu", own=True) for root in (made[1], tmp_path))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunFolder, "commit", killed)
        ended.extend(config, 1)
    assert ended.rounds(config) == committed
    assert ended.extend(config, 2) == 2 - committed
    one, other = (store.folder(config).own_on_test([1, 2]) for store in (whole, ended))
    assert one.keys() == other.keys() == {1, 2}
    assert all(np.array_equal(one[number], other[number]) for number in one)


def test_without_private_entries_it_follows_from_the_global_models_predictions(
    made: tuple[Plan, Path],
):
    curves = CurveStore(made[1] / "own", "cpu", own=True)
    request = asked()
    config = request.baselines()["dense"].config(request.task, 0)
    hits, labels_M = curves.on_test(config, 2), request.task.content.test[1]
    right_M = curves.folder(config).models_on_test([2])[2].right
    own = []
    for client in config.clients:
        labels = request.task.content.train[1][client]
        shares = {k: (labels == k).sum() / len(labels) for k in set(labels) & set(labels_M)}
        mean = sum(share * right_M[labels_M == k].mean() for k, share in shares.items())
        own.append(mean / sum(shares.values()))
    assert hits.right.mean() == pytest.approx(np.mean(own), abs=1e-6)


def test_chance_is_the_mean_over_clients_of_their_largest_label_share():
    request = asked()
    train, seen = request.task.content.train[1], set(request.task.content.validation[1])
    largest = []
    for client in request.reference().clients:
        labels = [label for label in train[client] if label in seen]
        largest.append(max(labels.count(label) for label in seen) / len(labels))
    assert request.chance_accuracy() == pytest.approx(np.mean(largest))
    dealt = {**FEW, "partition.law": "iid"}
    own, plain = (asked(changes=dealt, accuracy=a, candidates=grid([4], [1], [1])) for a in
                  ("own", "global"))  # fmt: skip
    assert own.chance_accuracy() == plain.chance_accuracy() < 0.3
    assert "on the whole split" in own.measure_text
    assert plain.measure_text == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fedsa-lora"], "cannot search method 'fedsa-lora': its clients have models of their own"),
        (["floss", "--accuracy", "mine"], "accuracy 'mine'; valid: global, own"),
    ],
)
def test_what_has_another_measure_is_refused_in_a_line(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capfd
):
    code, out, err = call(monkeypatch, capfd, "floss-plan", *OPTIONS, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert ("--accuracy own compares own models" in err) == ("fedsa-lora" in words)


def test_a_request_of_own_models_takes_the_option_to_have_them():
    with pytest.raises(ConfigError, match="--accuracy own compares own models"):
        asked(accuracy="global")


def test_searches_without_private_methods_have_no_features_of_them():
    made = with_axes(grid([2, 4], [1.0, 1 / 4], [1.0]), methods=["floss", "ffa", "rolora"])
    rows = np.array([features(c) for c in made])[:, varying_columns(made)]
    assert rows.shape == (len(made), 5)  # rank, densities, and two methods


@pytest.mark.parametrize("wrong", ["!", "AAAA", "AADAfw==", "AACAvw=="])
def test_damaged_own_results_are_refused(wrong: str):
    right_M = np.array([0.0, 0.25, 1.5])
    assert read_own({"own_right": pack_own(right_M)}) == pytest.approx(right_M)
    assert read_own({"accuracy": 0.5}) is None
    with pytest.raises(ValueError, match="own_right"):
        read_own({"own_right": wrong})
