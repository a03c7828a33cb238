"""Local work of a run: from its task, without the model library where the family is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_models import CASES, tiny_model

from floss_sim import RunConfig, dense, load_profile, load_task, method_from_name, retime, size_only
from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import ProfileError, RecordError
from floss_sim.families.family_table import family_table
from floss_sim.families.from_library import model_table
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.runs.retiming import work_of

PHONE = load_profile("phone-wifi")


def digits(rank: int = 4, **changes) -> RunConfig:
    return RunConfig.of(load_task("digits", changes=changes), dense(), rank=rank)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_table_of_a_known_family_is_that_of_the_library(family: str, kind: str):
    config = tiny_model(family).config.to_dict()
    labels = 0 if kind == "next-token" else 3
    made, own = family_table(config, labels), model_table(config, kind).with_labels(labels)
    assert dict(made.modules) == dict(own.modules)
    shapes = {f"{path}.weight" for path in made.modules} & dict(own.parameters).keys()
    assert {name: made.parameters[name] for name in shapes} == {
        name: own.parameters[name] for name in shapes
    }
    assert (made.output, made.head) == (own.output, own.head)


def test_work_grows_with_rank_and_is_stated_by_the_record():
    low, high = digits(rank=1).work, digits(rank=16).work
    assert low.operations.of_example < high.operations.of_example
    record = size_only(digits(), PHONE, rounds=2)
    assert work_of(record.description) == digits().work
    assert LocalWork.from_json(high.to_json()) == high


def test_methods_that_train_less_compute_less():
    task = load_task("digits")
    names = ("head", "bitfit", "dense", "full")
    counts = {
        name: RunConfig.of(task, method_from_name(name), rank=4).work.operations for name in names
    }
    assert counts["head"].backward < counts["bitfit"].backward < counts["full"].backward
    assert counts["head"].forward == counts["full"].forward < counts["dense"].forward


@pytest.mark.parametrize("epochs", [1, 3])
def test_simulated_and_closed_form_times_follow_from_steps(epochs: int):
    config = digits(**{"client.epochs": epochs})
    record = size_only(config, PHONE, rounds=3)
    clock = Clock(PHONE, config.fleet.clients)
    traffic = Traffic.predict(config, 3)
    closed = record.rounds["closed_at_s"].to_pylist()
    assert clock.closing_times(traffic) == pytest.approx(closed, rel=1e-12)
    link, work = PHONE.links(1)[0], config.work
    rows = record.transfers.to_pylist()
    ended = {row["sequence"]: row["ended_at_s"] for row in rows if row["direction"] == "down"}
    for row in (row for row in rows if row["direction"] == "up"):
        rate = link.device.operations_per_s("fp32")
        seconds = row["examples"] * work.operations.of_example / rate
        assert row["started_at_s"] - ended[row["sequence"]] == pytest.approx(seconds, rel=1e-9)


def test_a_record_is_retimed_with_the_operations_that_it_states():
    config = digits()
    lte = size_only(config, load_profile("paper-200-20"), rounds=2)
    again = retime(lte, PHONE)
    there = size_only(config, PHONE, rounds=2)
    assert again.rounds["closed_at_s"] == there.rounds["closed_at_s"]
    old = replace(lte, description={"trajectory": lte.description["trajectory"]})
    with pytest.raises(ProfileError, match="train the run again"):
        retime(old, PHONE)
    assert retime(old, PHONE, config.work).rounds.equals(again.rounds)
    assert retime(old, load_profile("lte")).rounds.num_rows == 2
    with pytest.raises(RecordError, match="operations in the record's description"):
        retime(replace(lte, description={**lte.description, "work": {"batch": 1}}), PHONE)
