import re

import pytest

from floss_sim.errors import LayoutError
from floss_sim.families.path_patterns import check_pattern, end_pattern, matching_paths

PATHS = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.1.self_attn.v_proj",
    "model.layers.11.mlp.fc1",
    "lm_head",
    "q",
    "a{e<=1}",
]
PATTERNS = [
    "q", "fc1", r"mlp\.fc1", r"layers\.1\..*", "q|v_proj", "[qv]_proj",
    r".*\.\d{2}\..*", "(?i:LM)_head",
    "(?=m)model.*", r"layers\.(?P<n>\d+)\.self_attn\..*", r"\w+", ".*+", "", ".*",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_matches_are_those_of_python_and_of_peft(pattern):
    from peft.utils.other import get_pattern_key

    check_pattern(pattern)
    assert matching_paths(pattern, PATHS) == [p for p in PATHS if re.fullmatch(pattern, p)]
    ends = [path for path in PATHS if get_pattern_key([pattern], path) == pattern]
    assert matching_paths(end_pattern(pattern), PATHS) == ends


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "is not a regular expression"),
        ("(?i)q", "is not a regular expression"),  # PEFT puts it inside another one
        ("[[:alpha:]]+", "is not a regular expression: Possible nested set"),
        ("q_proj{e<=1}", "braces in an expression are repetitions"),
        ("x" * 1001, "an expression of 1001 characters; valid: at most 1000"),
    ],
)
def test_a_pattern_that_python_reads_in_another_way_is_refused(pattern, said):
    with pytest.raises(LayoutError, match=re.escape(said)):
        check_pattern(pattern)
