from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from floss_sim import RunConfig, dense, floss
from floss_sim.errors import ConfigError, LayoutError
from floss_sim.methods import METHODS
from floss_sim.methods.search_axes import (
    number_axes,
    reason_not_searched,
    search_axes,
    searched_methods,
)
from floss_sim.page import texts
from floss_sim.runs.config import stack_layers
from planner import Request
from planner.candidates import DEFAULTS, OPTIONAL_AXES, Candidate, axis_values, grid, with_axes
from planner.forecasts.features import features, space_filling_order, varying_columns
from planner.plans.evidence_checks import outside_space
from planner.question.method_space import method_space

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
        ({"methods": ["fulll"]}, "'fulll'; valid: floss, ffa, sparse-adapter, fslora, freezing, "),
        ({"methods": ["dense"]}, "'dense': it is floss at densities of 1, which a search of"),
        ({"methods": ["head"], "own": {"head": {"rank": [4]}}}, "'rank' of method 'head'; valid: "),
        (
            {"own": {"ffa": {"rank": [1]}}},
            "axes of method 'ffa', which is not searched; valid: floss",
        ),
        ({"own": {"floss": {"heads": [2]}}}, "'heads' of method 'floss'; valid: values of rank, "),
        ({"own": {"floss": {"rank": [0]}}}, "rank 0 of method 'floss'; valid: whole"),
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
        plain, cohorts=[5, 10], epochs=[1, 2], values=["fp32", "int8"], methods=["floss", "ravan"],
        depths=[1, 4], client_lrs=[0.01, 0.03], server_lrs=[1e-3, 3e-3],
        own={"ravan": {"heads": [2, 4]}},
    )  # fmt: skip
    columns = varying_columns(made)
    assert len({tuple(features(c)[i] for i in columns) for c in made}) == len(made) == 384
    order = space_filling_order(made, 0)
    assert sorted(order) == made
    begun = order[: len(made) // 2]
    for axis in ("rank", *OPTIONAL_AXES):
        values = {getattr(c, axis) for c in made}
        assert {getattr(c, axis) for c in begun} == values, axis


def test_what_is_left_out_is_what_candidates_are_made_with():
    assert Candidate(7, 0.5, 0.5) == Candidate(7, 0.5, 0.5, *list(vars(DEFAULTS).values())[3:])


def test_each_method_has_its_own_axes():
    plain = grid([1, 16], [1.0, 1 / 4, 1 / 16], [1.0, 1 / 4, 1 / 16])
    names = ("floss", "fslora", "ravan", "ecolora")
    own = {
        "ravan": {"rank": [32], "heads": [2, 8], "up_density": [1]},
        "fslora": {"density": [0.5]},
    }
    made = with_axes(plain, methods=names, own=own)
    by = {name: [c for c in made if c.method == name] for name in names}
    assert by["floss"] == plain
    assert {c.options for c in by["ecolora"]} == {"segments=2", "segments=5"}
    assert by["fslora"] == [Candidate(16, 0.5, 0.5, method="fslora")]  # half of one rank is none
    assert {(c.rank, c.up_density, c.options) for c in by["ravan"]} == {
        (32, 1.0, "heads=2"), (32, 1.0, "heads=8")
    }  # fmt: skip
    assert len(by["ravan"]) == 6
    one = by["ravan"][0]
    assert one.as_method().heads == one.own["heads"] == 2
    assert str(one) == "rank 32, down 1/16, up 1, ravan, heads 2"
    assert Candidate.of_settings(one.settings()) == one
    two = Candidate(4, 1.0, 0.5, method="ecolora", options="half_life=5,segments=2")
    assert two.own == {"half_life": 5, "segments": 2}
    assert two.as_method().tiers[0].upload.half_life == 5
    with pytest.raises(ConfigError, match="options 'segments=2,half_life=5'; valid: numbers by"):
        replace(two, options="segments=2,half_life=5").as_method()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_catalog_can_be_searched_or_says_why(name: str):
    reason = reason_not_searched(name, own=True)
    if METHODS[name]().private and not reason:
        assert "--accuracy own" in (reason_not_searched(name) or "")
    else:
        assert reason_not_searched(name) == reason
    if reason:
        assert name not in searched_methods()
        with pytest.raises(
            ConfigError, match=re.escape(f"cannot search method {name!r}: {reason}")
        ):
            search_axes(name)
        return
    made = with_axes(grid([16], [1.0, 1 / 4], [1.0, 1 / 4]), methods=[name])
    assert {c.as_method().name for c in made} == {name}
    assert set(search_axes(name).own) <= set(search_axes(name).numbers) <= set(number_axes())
    columns = varying_columns(made)
    assert len({tuple(features(c)[i] for i in columns) for c in made}) == len(made)


def test_the_first_starters_have_every_method():
    made = with_axes(
        grid([4, 16], [1.0, 1 / 4], [1.0, 1 / 4]), methods=["floss", "ffa", "fslora", "ravan"]
    )
    order = space_filling_order(made, 0)
    assert {c.method for c in order[:4]} == {"floss", "ffa", "fslora", "ravan"}
    assert sorted(order) == made


def test_a_space_leaves_out_what_no_search_can_take(digits: RunConfig):
    plain = grid([1, 16], [1.0, 1 / 4], [1.0, 1 / 4])
    space = method_space(digits.task, plain, ["floss", "hetlora", "ravan", "fed-sb"])
    assert {c.method for c in space.candidates} == {"floss", "ravan", "fed-sb"}
    assert {c.rank for c in space.candidates if c.method == "ravan"} == {16}
    assert space.notes() == [
        f"hetlora is not searched: {reason_not_searched('hetlora')}",
        "ravan: 8 candidates are left out, such as rank 1, down 1/4, up 1/4, ravan, heads 2: "
        "rank 1 is no multiple of 2 heads; valid heads: 1",
    ]
    own = method_space(digits.task, plain, ["floss", "fed-sb"], own_ranks=True).candidates
    assert {c.rank for c in own if c.method == "fed-sb"} == {16, 32, 64}
    assert {c.rank for c in own if c.method == "floss"} == {1, 16}
    one = method_space(digits.task, grid([1], [1.0], [1.0]), ["floss", "fslora"])
    assert list(one.left_out) == ["fslora"]
    with pytest.raises(ConfigError, match="'dense': it is floss at densities of 1"):
        method_space(digits.task, plain, ["dense", "hetlora"])


def test_a_method_without_an_adapter_has_no_rank_to_search(digits: RunConfig):
    plain = grid([1, 16], [1.0, 1 / 4], [1.0])
    space = method_space(digits.task, plain, ["floss", "head", "fedkseed"])
    heads, seeds = ([c for c in space.candidates if c.method == m] for m in ("head", "fedkseed"))
    assert [str(c) for c in heads] == ["down 1/4, up 1, head", "down 1, up 1, head"]
    assert {c.rank_text for c in space.candidates} == {"1", "16", "-"}
    searched = {name: METHODS[name]().trains for name in searched_methods()}
    rankless = {layout for name, layout in searched.items() if not search_axes(name).has_rank}
    assert rankless == set(texts.TRAINED)  # the words of a page
    assert axis_values(heads) == {"down_density": [1 / 4, 1], "up_density": [1]}
    assert axis_values(seeds) == {"seeds": [1024], "steps": [40], "rate": [3e-7, 3e-6, 3e-5, 3e-4]}
    method = seeds[0].as_method().zeroth_order
    assert (method.seeds, method.steps, method.rate) == (1024, 40, seeds[0].own["rate"])
    rates = [features(c)[varying_columns(seeds)[-1]] for c in seeds]
    assert np.diff(sorted(rates)) == pytest.approx(math.log2(10))


def test_an_axis_that_changes_no_run_of_a_method_makes_no_candidates(digits: RunConfig):
    made = with_axes(
        grid([2], [1.0], [1.0]), methods=["floss", "head", "fedkseed"], depths=[1, 2],
        client_lrs=[0.01, 0.02], server_lrs=[0.1, 0.2], own={"fedkseed": {"rate": [0, 1e-4]}},
    )  # fmt: skip
    counts = {m: sum(c.method == m for c in made) for m in ("floss", "head", "fedkseed")}
    assert counts == {"floss": 8, "head": 4, "fedkseed": 2 + 1}  # rate 0 has two rates of clients
    seeds = [c.config(digits.task, 0) for c in made if c.method == "fedkseed"]
    assert sorted(config.client.learning_rate for config in seeds) == [0.01, 0.02, 0.05]
    layouts = {c.config(digits.task, 0).layout for c in with_axes(made[:1], methods=["head"])}
    assert layouts == {c.config(digits.task, 0).layout for c in made if c.method == "head"}
    asked = Request.of("digits", "lte", candidates=made).to_json()
    assert (asked["depth"], asked["client_lr"], asked["server_lr"]) == (
        [1, 2], [0.01, 0.02], [0.1, 0.2],
    )  # fmt: skip
    assert not [told for c in made for told in outside_space("run", c, asked)]
    floss = replace(made[0], method="floss", depth=0, options="")
    assert "run.depth: 0 is outside" in next(outside_space("run", floss, asked))


def test_numbers_of_the_only_method_are_part_of_the_request(digits: RunConfig):
    made = with_axes(
        grid([1], [1.0], [1.0]), methods=["fedkseed"], own={"fedkseed": {"seeds": [64]}}
    )
    asked = Request.of("digits", "lte", candidates=made).to_json()
    assert asked["method_axes"]["fedkseed"]["seeds"] == [64]
    plain = Request.of("digits", "lte", candidates=grid([1], [1.0], [1.0])).to_json()
    assert "method_axes" not in plain
