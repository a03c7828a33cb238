import pytest

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import AdapterSettings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": 0}, "rank 0 is out of range"),
        ({"rank_pattern": {"q": 0}}, "rank 0 is out of range"),
        ({"targets": ()}, "one or more different names"),
        ({"targets": ("q", "q")}, "one or more different names"),
        ({"targets": ("all-linear", "q")}, "'all-linear' must be the only one"),
        ({"targets": ("re:.*q", "v")}, "'re:.*q' must be the only one"),
        ({"targets": ("re:(",)}, "'\\(' is not a regular expression"),
        ({"alpha_pattern": {"[": 1.0}}, "is not a regular expression"),
        ({"bias": "some"}, "valid: none, all, lora_only"),
        ({"layers": (0,), "depth": 1}, "layers or a depth, not both"),
        ({"depth": 0}, "valid: 1 or more layers"),
        ({"rank": 10**400}, r"^rank 10+\.\.\. is out of range; valid: 1 to the smaller"),
        ({"rank": 2.5}, "rank 2.5 is not a whole number"),
        ({"rank": "8"}, "rank '8' is not a whole number"),
        ({"rank": True}, "rank True is not a whole number"),
        ({"alpha": "16"}, "alpha '16' is not a number"),
        ({"targets": "q,v"}, r"targets 'q,v' is not a tuple of names, such as \('q', 'v'\)"),
        ({"targets": ("q", 3)}, "is not a tuple of names"),
        ({"modules_to_save": "lm_head"}, "modules_to_save 'lm_head' is not a tuple of names"),
        ({"rank_pattern": {"v": 2.5}}, "rank_pattern .* is not a dictionary of whole numbers"),
        ({"alpha_pattern": [1]}, r"alpha_pattern \[1\] is not a dictionary of numbers"),
        ({"layers": 3}, "layers 3 is not a tuple of whole numbers"),
        ({"depth": 1.5}, "depth 1.5 is not a whole number"),
        ({"dora": "no"}, "dora 'no' is not True or False"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(LayoutError, match=said):
        AdapterSettings(**settings)


def test_the_first_rank_pattern_that_matches_the_end_of_a_path_counts():
    settings = AdapterSettings(rank=8, rank_pattern={r"layers\.1\..*": 3, "mlp.fc1": 2})

    paths = ("m.layers.1.mlp.fc1", "m.layers.0.mlp.fc1", "m.layers.11.q_proj")
    assert [settings.rank_of(path) for path in paths] == [3, 2, 8]


def test_settings_are_plain_values_in_json():
    told = AdapterSettings(targets=("q",), rank_pattern={"v": 4}, layers=(1, 2)).to_json()

    assert told["targets"] == ["q"]
    assert told["rank_pattern"] == {"v": 4}
    assert told["layers"] == [1, 2]
