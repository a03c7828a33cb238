"""The command that asks a plan's question again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from made_plans import whole_plan

from planner.page.again import plan_command


def test_a_tuned_plan_is_asked_again_with_the_rates_from_before():
    plain = whole_plan()
    assert plain.rate_test
    assert plain.rate_test.better
    changes = {"partition.clients": 20, "client.learning_rate": plain.rate_test.better.client_lr,
               "server.learning_rate": plain.rate_test.better.server_lr}  # fmt: skip
    origin = {"task": "digits", "network": "lte", "changes": changes}
    request = {**plain.request, "tune_lr": True, "origin": origin}
    test = plain.rate_test.model_copy(update={"tuned": True})
    words = shlex.split(plan_command(replace(plain, request=request, rate_test=test), Path()))
    assert "--tune-lr" in words
    set_ = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert set_ == [
        "partition.clients=20", "client.learning_rate=0.05", "server.learning_rate=0.005"
    ]  # fmt: skip
    untested = {**plain.request, "lr_test": False}
    words = shlex.split(plan_command(replace(plain, request=untested, rate_test=None), Path()))
    assert "--no-lr-test" in words
    assert "--prior" not in words
    assert "--tune-lr" not in words


def test_prior_and_framework_are_asked_for_again(tmp_path: Path):
    plain = whole_plan()
    origin = {
        "task": "digits", "network": "lte", "framework": "flower-1.42",
        "prior": str(tmp_path / "mine.json"),
    }  # fmt: skip
    own = replace(plain, request={**plain.request, "origin": origin})
    words = shlex.split(plan_command(own, tmp_path))
    assert words[words.index("--framework") + 1] == "flower-1.42"
    assert words[words.index("--prior") + 1] == "./mine.json"
    effort = {key: value for key, value in plain.effort.items() if key != "prior"}
    words = shlex.split(plan_command(replace(plain, effort=effort), tmp_path))
    assert words[words.index("--prior") + 1] == "none"


def test_methods_are_asked_for_again_with_axes_of_their_own(tmp_path: Path):
    plain = whole_plan()
    request = {
        **plain.request, "ranks": [4, 32], "method": ["floss", "ravan"],
        "left_out_methods": {"hetlora": "its tiers are given by hand"},
        "method_axes": {
            "floss": {"rank": [4], "up_density": [0.25]},
            "ravan": {"rank": [4, 32], "heads": [2, 4]},
        },
        "up_densities": [0.25], "options": ["", "heads=2", "heads=4"],
    }  # fmt: skip
    words = shlex.split(plan_command(replace(plain, request=request), tmp_path))
    assert words[words.index("--methods") + 1] == "floss,ravan,hetlora"
    own = [words[i + 1] for i, word in enumerate(words) if word == "--axis"]
    assert own == ["floss.rank=4", "ravan.heads=2,4"]
