"""The table of options agrees with the catalog, and reads what is typed."""

from __future__ import annotations

import pytest

from floss_sim.errors import ConfigError, DensityError
from floss_sim.methods import METHODS, method_from_name, options_of
from floss_sim.methods.method_options import METHOD_OPTIONS, method_of_options


def test_every_parameter_of_every_method_is_an_option():
    assert {option.key for option in METHOD_OPTIONS.values()} == {
        key for name in METHODS for key in options_of(name) if key != "privacy"
    }  # differential privacy has options of its own, --dp-clip and others


def test_options_are_read_from_texts():
    made = method_of_options(
        "ecolora", {"segments": "3", "half_life": "2.5", "a_density": "1/8", "up_values": "int8"}
    )
    assert made == method_from_name(
        "ecolora", segments=3, half_life=2.5, a_density=1 / 8, up_values="int8"
    )
    rolora = method_of_options("rolora", {"change_ledger": "yes", "dense_head": "no"})
    assert rolora == method_from_name("rolora", change_ledger=True)
    seeds = method_of_options("fedkseed", {"candidate_seeds": 64, "local_steps": "8"})
    assert seeds == method_from_name("fedkseed", seeds=64, steps=8)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("ecolora", {"segments": "many"}, "--segments 'many' is not a number"),
        ("ecolora", {"segments": "2.5"}, "--segments '2.5' is not a number"),
        ("ecolora", {"error_feedback": "maybe"}, "--error-feedback 'maybe' is neither yes nor no"),
        ("ecolora", {"up_values": "int2"}, "--up-values 'int2' is unknown; valid: fp32, fp16"),
        ("ravan", {"segments": 2}, "method 'ravan' has no option 'segments'; valid: down_density"),
        ("floss", {"candidate_seeds": 2}, "method 'floss' has no option 'candidate_seeds'; valid"),
        (
            "fedkseed",
            {"rank": 2},
            "'rank'; valid: candidate_seeds, local_steps, epsilon, direction",
        ),
        ("mine", {}, "unknown method 'mine'; valid: floss, dense"),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_name_that_was_typed(name, given, told):
    with pytest.raises(ConfigError, match=told):
        method_of_options(name, given)


def test_a_density_is_refused_by_its_option():
    with pytest.raises(DensityError, match=r"--a-density: density '2' is outside \(0, 1\]"):
        method_of_options("ecolora", {"a_density": "2"})
