"""File of a prior over tasks: JSON with a version, written and read with all checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from floss_sim.documents import OneFullLine, Section, validate
from floss_sim.errors import ConfigError
from floss_sim.files import write_atomically
from floss_sim.fingerprints import fingerprint
from floss_sim.toml_json import read_json, shorten
from planner.forecasts.prior_terms import TERMS, Array
from planner.forecasts.task_prior import GridEvidence, GridPrior, LeftOut

PRIOR_VERSION = 1
PACKAGED = Path(__file__).with_name("task_prior.json")
_MOST_GRIDS = 200
_Mark = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Grid(Section):
    """A grid: its name, marks, number of runs, and its evidence with the matrix' lower triangle."""

    name: OneFullLine
    mark: _Mark
    backbone: _Mark
    runs: Annotated[int, Field(ge=1)]
    precision: Annotated[list[list[_Number]], Field(min_length=len(TERMS), max_length=len(TERMS))]
    pull: Annotated[list[_Number], Field(min_length=len(TERMS), max_length=len(TERMS))]

    @model_validator(mode="after")
    def _check_precision(self) -> _Grid:
        if [len(row) for row in self.precision] != list(range(1, len(TERMS) + 1)):
            raise ValueError("precision must be the lower triangle of a matrix")
        precision_TT = _whole_matrix(self.precision)
        least, most = np.linalg.eigvalsh(precision_TT)[[0, -1]]
        if least < -1e-6 * max(most, 1.0):
            raise ValueError("precision must be no negative matrix")
        return self


class _Replay(Section):
    """Regret at an effort, in points: mean and worst over tasks left out."""

    effort: Annotated[float, Field(ge=0, le=1)]
    mean: Annotated[float, Field(ge=0, le=100)]
    worst: Annotated[float, Field(ge=0, le=100)]


class _Document(Section):
    """The file."""

    prior_version: int
    mark: _Mark
    terms: list[str]
    common: Annotated[list[_Positive], Field(min_length=len(TERMS), max_length=len(TERMS))]
    between: Annotated[list[_Positive], Field(min_length=len(TERMS), max_length=len(TERMS))]
    own: _Positive
    weight_sd: _Positive
    replays: Annotated[list[_Replay], Field(max_length=100)]
    grids: Annotated[list[_Grid], Field(min_length=1, max_length=_MOST_GRIDS)]

    @model_validator(mode="after")
    def _check_names(self) -> _Document:
        if self.terms != list(TERMS):
            raise ValueError("terms must be those of this version")
        if len({grid.mark for grid in self.grids}) < len(self.grids):
            raise ValueError("grids must differ in their marks")
        efforts = [replay.effort for replay in self.replays]
        if efforts != sorted(set(efforts)):
            raise ValueError("replays must have ascending efforts")
        return self


def read_prior(path: Path) -> GridPrior:
    """Return the prior in a file.

    Raises:
        ConfigError: The file cannot be read, is of another version, or is no valid prior.
    """
    content = read_json(path, ConfigError)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no prior: it is no JSON object")
    version = content.get("prior_version")
    if version != PRIOR_VERSION:
        raise ConfigError(
            f"{path} has prior version {shorten(version)}, not {PRIOR_VERSION}; make it again with "
            "experiments/task_prior, or plan with --prior none"
        )
    document = validate(content, _Document, ConfigError, str(path))
    if document.mark != _mark(content):
        raise ConfigError(f"{path}: mark: it is not that of the content, which has been changed")
    return _prior_of(document)


def _mark(content: Mapping[str, Any]) -> str:
    """Return the fingerprint of a file's content, its own mark aside."""
    return fingerprint({key: value for key, value in content.items() if key != "mark"})


def write_prior(prior: GridPrior, path: Path) -> None:
    """Write a prior to a file.

    Raises:
        OSError: The file cannot be written.
    """
    content: dict[str, Any] = {
        "prior_version": PRIOR_VERSION,
        "terms": list(TERMS),
        "common": _rounded(prior.common),
        "between": _rounded(prior.between),
        "own": float(f"{prior.own:.6g}"),
        "weight_sd": float(f"{prior.weight_sd:.6g}"),
        "replays": [asdict(replay) for replay in prior.replays],
        "grids": [_grid_content(grid) for grid in prior.grids],
    }
    content["mark"] = _mark(content)
    write_atomically(path, json.dumps(content, separators=(",", ":")) + "\n")


def _grid_content(grid: GridEvidence) -> dict[str, object]:
    rows = [_rounded(row[: n + 1]) for n, row in enumerate(grid.precision)]
    own = {"name": grid.name, "mark": grid.mark, "backbone": grid.backbone, "runs": grid.runs}
    return {**own, "precision": rows, "pull": _rounded(grid.pull)}


def _rounded(values: Array) -> list[float]:
    """Return numbers with nine digits, which keep a matrix from becoming negative."""
    return [float(f"{value:.9g}") for value in values.tolist()]


def _prior_of(document: _Document) -> GridPrior:
    grids = tuple(
        GridEvidence(
            grid.name,
            grid.mark,
            grid.backbone,
            grid.runs,
            _whole_matrix(grid.precision),
            np.array(grid.pull),
        )
        for grid in document.grids
    )
    common_T, between_T = np.array(document.common), np.array(document.between)
    replays = tuple(LeftOut(r.effort, r.mean, r.worst) for r in document.replays)
    return GridPrior(grids, common_T, between_T, document.own, document.weight_sd, replays)


def _whole_matrix(rows: list[list[float]]) -> Array:
    """Return the symmetric matrix of a lower triangle."""
    lower_TT = np.array([row + [0.0] * (len(rows) - len(row)) for row in rows])
    whole_TT: Array = lower_TT + np.tril(lower_TT, -1).T
    return whole_TT
