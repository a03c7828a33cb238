from __future__ import annotations

from typing import Any

import pytest
from made_runs import trajectory

from floss_sim.analysis.configuration_labels import labels


def floss(down: float = 1.0, up: float = 1.0, **changes: Any) -> tuple[str, dict[str, Any]]:
    return "floss", trajectory(method={"down_density": down, "up_density": up}, **changes)


def test_only_what_differs_is_said_the_rank_first():
    made, unsaid = labels([floss(1 / 4, 1 / 16, rank=16), floss(1 / 4, 1 / 64, rank=4)])
    assert made == ["floss r16 up 1/16", "floss r4 up 1/64"]
    assert unsaid == []


def test_one_configuration_is_its_method():
    assert labels([floss(1 / 4, 1 / 16)]) == (["floss"], [])


def test_densities_go_unsaid_where_everything_travels():
    dense = ("dense", floss()[1])
    made, _ = labels([dense, floss(1 / 4, 1 / 16), floss(1.0, 1 / 16)])
    assert made == ["dense", "floss down 1/4 up 1/16", "floss down 1 up 1/16"]


def test_what_most_share_goes_unsaid_once_and_is_told():
    dealt = {"clients": 2, "law": "dirichlet", "alpha": 0.1}
    made, unsaid = labels([floss(), floss(rank=8), floss(fleet=dealt)])
    assert made == ["floss r4", "floss r8", "floss r4 dirichlet"]
    assert unsaid == ["iid"]


def test_a_policy_is_told_of_the_run_that_has_it_and_its_network_by_name_alone():
    policy = {"name": "first-k", "reports": 5, "deadline_s": None, "minimum": 1, "late": "cancel"}
    shaped = {"clients": "7.8e+06:6.5e+06", "policy": policy}
    late = ("floss", {**floss()[1], "network": "lte", "conditions": shaped})
    made, unsaid = labels([("floss", {**floss()[1], "network": "paper"}), late, late])
    assert made == [
        "floss on paper",
        "floss first-k reports 5 minimum 1 late cancel #1",
        "floss first-k reports 5 minimum 1 late cancel #2",
    ]
    assert unsaid == ["on lte"]


def test_half_is_not_most():
    made, unsaid = labels([floss(server={"cohort": 5}), floss(server={"cohort": 10})])
    assert made == ["floss cohort 5", "floss cohort 10"]
    assert unsaid == []


def test_what_one_does_not_have_is_said_of_the_others():
    coarse = {"method": {"values": "int8"}}
    made, unsaid = labels([("a", coarse), ("b", coarse), ("dense", {"method": {}})])
    assert made == ["a int8", "b int8", "dense"]
    assert unsaid == []


def test_the_same_word_of_two_sections_names_its_section():
    one = floss(client={"learning_rate": 0.1}, server={"learning_rate": 0.01})
    other = floss(client={"learning_rate": 0.2}, server={"learning_rate": 0.02})
    made, _ = labels([one, other])
    assert made == ["floss client lr 0.1 server lr 0.01", "floss client lr 0.2 server lr 0.02"]


def test_a_networks_name_says_its_timing():
    lte, paper = (
        floss(network=name, timing=32 * digit) for name, digit in (("lte", "a"), ("paper", "b"))
    )
    assert labels([lte, paper])[0] == ["floss on lte", "floss on paper"]
    other = floss(network="lte", timing="f" * 32)
    assert labels([lte, other])[0] == ["floss timing aaaaaaaa", "floss timing ffffffff"]


def test_what_follows_from_the_methods_name_goes_unsaid():
    mask = {"density": 0.25, "scope": "tensor", "mask": "frozen"}
    made, _ = labels([("sparse-adapter", trajectory(method=mask)), floss(1 / 4, 1 / 4)])
    assert made == ["sparse-adapter density 1/4 tensor", "floss down 1/4 up 1/4"]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"scope": "per-tensor"}, {"scope": "global"}, ["per-tensor", "global"]),
        ({"values": "int8"}, {}, ["int8", ""]),
        ({"error_feedback": True}, {"error_feedback": False},
         ["error feedback", "no error feedback"]),
        ({"decay": 0.98}, {"decay": None}, ["decay 0.98", ""]),
        ({"warm_up": 1}, {"warm_up": 20}, ["warm up 1", "warm up 20"]),
        ({"roles": ["q", "v"]}, {"roles": ["q"]}, ["roles q+v", "roles q"]),
        (
            {"tiers": [{"down_density": 1.0, "up_density": 0.25}, {"down_density": 0.0625}]},
            {"tiers": []},
            ["tiers 1:1/4+1/16", "tiers"],
        ),
        ({"backbone": "0f60bf0e35ce4346f601"}, {"backbone": "1f60bf0e35ce4346f601"},
         ["backbone 0f60bf0e", "backbone 1f60bf0e"]),
    ],
)  # fmt: skip
def test_values_of_any_plain_kind(one, other, said):
    made, _ = labels([("m", {"method": one}), ("m", {"method": other})])
    assert made == [f"m {text}".strip() for text in said]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"layout": "1" * 16}, {"layout": "2" * 16}),  # never said
        ({"method": {"up_density": 0.300000001}}, {"method": {"up_density": 0.300000002}}),
        ({"backbone": "12345678" + "0" * 8}, {"backbone": "12345678" + "1" * 8}),
        ({"method": {"momentum": None}}, {"method": {}}),
    ],
)
def test_labels_that_would_be_alike_are_numbered(one, other):
    made, _ = labels([("floss", one), ("floss", other), ("dense", {})])
    assert made[0].endswith(" #1")
    assert made[1] == made[0].replace("#1", "#2")
    assert made[2] == "dense"


def test_a_label_that_ends_like_a_number_stays_apart():
    twins = [("m", {"law": "a", "layout": digit * 16}) for digit in "12"]
    made, _ = labels([*twins, ("m", {"law": "a #1"}), ("m", {}), ("m", {"law": "c"})])
    assert len(set(made)) == 5


def test_adapters_that_one_method_lacks_are_not_told_of_all_the_others():
    lora = {"alpha": 16, "targets": ["q", "v"]}
    made, unsaid = labels(
        [
            ("full", trajectory(method={"trains": "full"}, rank=None)),
            *[(name, trajectory(method={}, lora=lora, rank=4)) for name in ("dense", "hetlora")],
        ]
    )
    assert made[1:] == ["dense r4", "hetlora r4"]
    assert unsaid == ["targets q+v", "alpha 16"] or unsaid == ["alpha 16", "targets q+v"]


def test_a_depth_that_some_adapters_lack_is_named_where_it_is():
    """Adapters without a key have its default: a legend must not say that they have another one."""
    plain = {"alpha": 16}
    made, unsaid = labels(
        [
            ("floss", trajectory(lora=lora))
            for lora in (plain, {**plain, "depth": 1}, {**plain, "depth": 1, "dora": True})
        ]
    )
    assert made == ["floss", "floss depth 1", "floss depth 1 dora"]
    assert unsaid == []


def test_tiers_read_as_fractions():
    tiers = [
        {"share": 1 / 3, "down_ranks": 0.25, "down_which": "first", "up_mask": "download's"},
        {"share": 2 / 3, "down_ranks": 1.0, "down_which": "first", "up_mask": "download's"},
    ]
    made, _ = labels([("hetlora", {"method": {"tiers": tiers}}), ("dense", {"method": {}})])
    assert made == ["hetlora tiers 1/3:1/4:first+2/3:1:first", "dense"]
