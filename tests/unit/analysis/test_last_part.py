from __future__ import annotations

import pytest

from floss_sim.analysis.last_part import last_part


@pytest.mark.parametrize(
    ("evaluated", "rounds", "part"),
    [
        (tuple(range(10, 401, 10)), 400, (350, 360, 370, 380, 390, 400)),
        (tuple(range(10, 401, 10)), 200, (180, 190, 200)),
        ((1, 2, 3), 3, (3,)),
        ((1, 2, 10), 20, (10,)),  # nothing in the last part: the last one before it
        ((80, 86, 100, 120), 100, (86, 100)),
    ],
)
def test_the_last_fifteen_percent_of_the_rounds_are_the_last_part(evaluated, rounds, part):
    assert last_part(evaluated, rounds) == part


def test_without_an_evaluation_there_is_no_last_part():
    with pytest.raises(ValueError, match="no evaluation in the first 4 rounds"):
        last_part((5, 10), 4)
