"""Names of the files in a run folder: which names are a run's own, and which are temporary.

A manifest may name only data files of these patterns. Only such files and temporary ones (see
``floss_sim.files``) are ever deleted. Files that a user puts into a run folder under other names
are never touched.
"""

from __future__ import annotations

import os
import re

from floss_sim.files import is_running, split_temporary

DESCRIPTION, MANIFEST = "run.json", "manifest.json"
TEST, DIVERGED = "test.json", "diverged.json"
NETWORK = "network.json.gz"
LOCK = "run.lock"
_STEM = r"[0-9]{6,9}-[0-9a-f]{8}"  # last round, and the begin of the timing fingerprint
_DATA = (
    rf"(?:rounds|transfers)-{_STEM}\.parquet|checkpoint-{_STEM}\.safetensors"
    r"|model-[0-9]{6,9}\.floss"
)
_JSON = r"(?:run|manifest|test|diverged)\.json|network\.json\.gz"
_IS_DATA = re.compile(_DATA)
_IS_OWN = re.compile(rf"{_DATA}|{_JSON}")


def stem(last: int, timing: str) -> str:
    """Return the common part of the names of a commit's files, such as ``000010-0a1b2c3d``.

    Args:
        last: Last round of the commit.
        timing: Timing fingerprint (hex).
    """
    return f"{last:06d}-{timing[:8]}"


def model_name(round_: int) -> str:
    """Return the name of the file with the model of an evaluated round."""
    return f"model-{round_:06d}.floss"


def is_data(name: str) -> bool:
    """Return whether a name is that of a table, a model or a checkpoint of a run folder."""
    return _IS_DATA.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    """Return whether a name is that of an unfinished file of a run folder."""
    found = split_temporary(name)
    return found is not None and _IS_OWN.fullmatch(found[1]) is not None


def is_unfinished_manifest(name: str) -> bool:
    """Return whether a name is that of a manifest whose commit did not finish."""
    found = split_temporary(name)
    return found is not None and found[1] == MANIFEST


def is_written_elsewhere(name: str) -> bool:
    """Return whether another running process may still be writing a temporary ``run.json``.

    All other files are written under the folder's lock.
    """
    found = split_temporary(name)
    if found is None or found[1] != DESCRIPTION:
        return False
    return found[0] != os.getpid() and is_running(found[0])
