"""Small sealed files of a run folder that no manifest names: test metrics, and divergence.

Each is bound to its run by the run's fingerprint. Files by an earlier version have neither seal nor
fingerprint, and are read as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from floss_sim.errors import RecordError
from floss_sim.records import file_names
from floss_sim.records.on_test import read_model, read_own
from floss_sim.records.sealed_json import read_sealed, write_sealed

_RUN = "run"  # key of the run's fingerprint
_TEST: TypeAdapter[dict[str, dict[str, float | str]]] = TypeAdapter(
    dict[Annotated[str, Field(pattern=r"^[1-9][0-9]*$")], dict[str, float | str]]
)
_DIVERGED: TypeAdapter[dict[str, str]] = TypeAdapter(
    dict[Annotated[str, Field(pattern=r"^reason$")], str]
)


def read_test(folder: Path, run: str, remedy: str) -> dict[str, dict[str, Any]]:
    """Return the test metrics of a run folder by round (as text); empty if there are none.

    Those of earlier versions lack the single predictions.

    Args:
        folder: Run folder.
        run: Fingerprint of the run.
        remedy: Advice at the end of an error message.

    Raises:
        RecordError: The file is damaged, or is that of another run.
    """
    path = folder / file_names.TEST
    found = _read(path, run, remedy, _TEST)
    for number, content in found.items():
        try:
            read_model(content)
            read_own(content)
        except (ValueError, TypeError, KeyError) as error:
            raise RecordError(f"{path} is damaged (round {number}: {error}); {remedy}") from None
    return found


def read_divergence(folder: Path, run: str, remedy: str) -> str | None:
    """Return the reason why a run diverged, or None; arguments and errors as :func:`read_test`."""
    return _read(folder / file_names.DIVERGED, run, remedy, _DIVERGED).get("reason")


def write_test(folder: Path, run: str, metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace the test metrics of a run folder, given by round (as text)."""
    ordered = {key: dict(metrics[key]) for key in sorted(metrics, key=int)}
    write_sealed(folder / file_names.TEST, {**ordered, _RUN: run})


def write_divergence(folder: Path, run: str, reason: str) -> None:
    """Store the reason why a run diverged."""
    write_sealed(folder / file_names.DIVERGED, {"reason": reason, _RUN: run})


def _read(path: Path, run: str, remedy: str, kind: TypeAdapter[Any]) -> dict[str, Any]:
    if not (path.exists() or path.is_symlink()):
        return {}
    content, sealed = read_sealed(path, remedy)
    if sealed and content.pop(_RUN, None) != run:
        raise RecordError(f"{path} is that of another run; {remedy}")
    try:
        found: dict[str, Any] = kind.validate_python(content)
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise RecordError(f"{path} is damaged ({said}); {remedy}") from None
    return found
