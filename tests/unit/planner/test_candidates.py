from __future__ import annotations

import math
from dataclasses import replace

import pytest

from floss_sim import RunConfig, dense, floss
from floss_sim.errors import ConfigError, LayoutError
from floss_sim.runs.config import stack_layers
from planner import Request
from planner.candidates import DEFAULTS, OPTIONAL_AXES, Candidate, grid, with_axes
from planner.forecasts.features import features, space_filling_order, varying_columns

PLAIN = Candidate(16, 1 / 4, 1 / 16)


def test_a_plain_candidate_is_what_it_always_was(digits: RunConfig):
    assert str(PLAIN) == "rank 16, down 1/4, up 1/16"
    assert PLAIN.settings() == {"rank": 16, "down_density": 0.25, "up_density": 1 / 16}
    expected = RunConfig.of(digits.task, floss(1 / 4, 1 / 16), rank=16)
    assert PLAIN.config(digits.task, 0).settings() == expected.settings()
    assert features(PLAIN)[:3] == (4, -2, -4)
    assert varying_columns([PLAIN, Candidate(4, 1.0, 1.0)]) == (0, 1, 2)


def test_what_else_varies_reaches_the_run(digits: RunConfig):
    made = Candidate(4, 1 / 4, 1.0, cohort_size=10, epochs=2, values="int8", method="ffa")
    assert str(made) == "rank 4, down 1/4, up 1, cohort 10, 2 epochs, int8, ffa"
    config = made.config(digits.task, 1)
    assert (config.server.cohort, config.client.epochs) == (10, 2)
    assert (config.method.down_values, config.method.up_values) == ("int8", "int8")
    assert config.method.trains == "ffa"
    assert Candidate(**made.settings()) == made


def test_saying_what_the_task_says_is_the_same_run(digits: RunConfig):
    task = digits.task
    said = Candidate(4, 1.0, 1.0, task.server.cohort, task.client.epochs).config(task, 0)
    assert said.settings() == RunConfig.of(task, dense(), rank=4).settings()


def test_a_depth_reaches_the_run_and_shares_the_examples(digits: RunConfig):
    made = Candidate(4, 1.0, 1.0, depth=3)
    assert str(made) == "rank 4, down 1, up 1, depth 3"
    config = made.config(digits.task, 0)
    assert config.task.lora.depth == 3
    assert config.task.content is digits.task.content
    numbers = {t.name.split(".")[1] for t in config.layout.tensors if t.name.startswith("layer")}
    assert numbers == {"001", "002", "003"}
    assert Candidate(**made.settings()) == made


def test_all_layers_are_the_same_run_as_without_a_depth(digits: RunConfig):
    """Unless the task itself names fewer."""
    layers = stack_layers(digits.task)
    assert layers == 4
    whole = Candidate(4, 1.0, 1.0, depth=layers).config(digits.task, 0)
    assert whole.settings() == Candidate(4, 1.0, 1.0).config(digits.task, 0).settings()
    last = digits.task.at_depth(1)
    assert Candidate(4, 1.0, 1.0).config(last, 0).layout.entries < whole.layout.entries
    assert Candidate(4, 1.0, 1.0, depth=layers).config(last, 0).layout == whole.layout


def test_a_depth_beyond_the_layers_is_refused(digits: RunConfig):
    with pytest.raises(LayoutError, match="depth 5 is more than the model's 4 layers"):
        Candidate(4, 1.0, 1.0, depth=5).config(digits.task, 0)


def test_baselines_have_all_layers_where_depth_is_searched(digits: RunConfig):
    asked = Request.of("digits", "lte", budget="2MB")
    searched = with_axes([PLAIN], depths=[4, 2])
    made = replace(asked, candidates=searched).baselines()
    assert {one.depth for one in made.values()} == {4}
    assert {one.depth for one in asked.baselines().values()} == {0}


def test_every_combination_is_there_once():
    plain = grid([1, 4], [1.0, 1 / 4], [1.0, 1 / 4])
    made = with_axes(plain, cohorts=[5, 10], values=["fp32", "int8", "fp32"])
    assert len(made) == len(set(made)) == 8 * 4
    assert made == sorted(made)
    assert with_axes(plain) == plain


def test_sparse_adapter_has_one_density_and_is_not_dense():
    plain = grid([1], [1.0, 1 / 4, 1 / 16], [1.0, 1 / 4])
    made = with_axes(plain, methods=["floss", "sparse-adapter"])
    assert [c for c in made if c.method == "sparse-adapter"] == [
        Candidate(1, 1 / 4, 1 / 4, method="sparse-adapter")
    ]
    assert len(made) == len(plain) + 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cohorts": [0, 5]}, "cohort 0 must be at least 1"),
        ({"epochs": [-1]}, "epochs -1 must be at least 1"),
        ({"depths": [0]}, "depth 0 must be at least 1"),
        ({"client_lrs": [0.1, 0.0]}, "client learning rate 0; valid: a finite number above 0"),
        ({"server_lrs": [math.nan]}, "server learning rate nan; valid"),
        ({"values": ["int2"]}, "'int2'; valid: fp32, fp16"),
        ({"methods": ["full"]}, "'full'; valid: floss, ffa, sparse-adapter, fslora, freezing, "),
    ],
)
def test_what_cannot_be_searched_is_refused(changes: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        with_axes([PLAIN], **changes)


def test_rates_reach_the_run_and_the_baselines_name_the_tasks(digits: RunConfig):
    made = Candidate(4, 1.0, 1.0, client_lr=0.1, server_lr=0.02)
    assert str(made) == "rank 4, down 1, up 1, client lr 0.1, server lr 0.02"
    assert Candidate.of_settings(made.settings()) == made
    config = made.config(digits.task, 0)
    assert (config.client.learning_rate, config.server.learning_rate) == (0.1, 0.02)
    task = digits.task
    own = task.client.learning_rate, task.server.learning_rate
    same = Candidate(4, 1.0, 1.0, client_lr=own[0], server_lr=own[1])
    assert same.config(task, 0).settings() == Candidate(4, 1.0, 1.0).config(task, 0).settings()
    asked = Request.of("digits", "lte", candidates=with_axes([PLAIN], client_lrs=[0.1, 0.3]))
    assert {(c.client_lr, c.server_lr) for c in asked.baselines().values()} == {(own[0], 0.0)}
    assert asked.to_json()["client_lr"] == [0.1, 0.3]


def test_features_that_vary_tell_all_candidates_apart():
    plain = grid([1, 4], [1 / 4], [1 / 4])
    made = with_axes(
        plain, cohorts=[5, 10], epochs=[1, 2], values=["fp32", "int8"], methods=["floss", "ffa"],
        depths=[1, 4], client_lrs=[0.01, 0.03], server_lrs=[1e-3, 3e-3],
    )  # fmt: skip
    columns = varying_columns(made)
    assert len({tuple(features(c)[i] for i in columns) for c in made}) == len(made) == 256
    order = space_filling_order(made, 0)
    assert sorted(order) == made
    begun = order[: len(made) // 2]
    for axis in ("rank", *OPTIONAL_AXES):
        assert len({getattr(c, axis) for c in begun}) == 2, axis


def test_what_is_left_out_is_what_candidates_are_made_with():
    assert Candidate(7, 0.5, 0.5) == Candidate(7, 0.5, 0.5, *list(vars(DEFAULTS).values())[3:])
