"""The file of a prior: written as it is read, and refused if it is another's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from floss_sim.errors import ConfigError
from planner.forecasts.prior_file import PACKAGED, PRIOR_VERSION, read_prior, write_prior


def test_the_packaged_prior_is_written_as_it_is_read(tmp_path: Path):
    prior = read_prior(PACKAGED)
    write_prior(prior, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(PACKAGED.read_text())
    again = read_prior(tmp_path / "again.json")
    np.testing.assert_array_equal(again.coefficients[0], prior.coefficients[0])
    assert len({grid.mark for grid in prior.grids}) == len(prior.grids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior_version": PRIOR_VERSION + 1}, "prior version 2, not 1"),
        ({"own": 0.5}, "mark: it is not that of the content"),
        ({"own": -1.0}, "own: "),
        ({"terms": ["level"]}, "terms must be those of this version"),
        ({"grids": []}, "grids: "),
    ],
)
def test_another_prior_is_refused_in_one_line(tmp_path: Path, change: dict, message: str):
    path = tmp_path / "prior.json"
    path.write_text(json.dumps({**json.loads(PACKAGED.read_text()), **change}))
    with pytest.raises(ConfigError, match="prior") as error:
        read_prior(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
