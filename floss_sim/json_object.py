"""JSON objects of a backbone's folder, read with limits on size and depth.

The limits are wider than those of this project's own files (``toml_json.py``): a usual
``tokenizer_config.json`` states a ``model_max_length`` of 10**30.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from floss_sim.errors import TaskError

_MOST_BYTES = 32 * 2**20  # of one file; the index of a model with 100,000 tensors has 10 MB


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        path: The file.
        what: The file's role in error messages, such as ``"task 'x': cannot read backbone"``.

    Raises:
        TaskError: The file is missing, too large or no JSON object.
    """
    try:
        with path.open("rb") as file:
            blob = file.read(_MOST_BYTES + 1)
        if len(blob) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES // 2**20} MiB")
        content = json.loads(blob.decode("utf-8"))
    except RecursionError:
        raise TaskError(f"{what} {path}: it is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise TaskError(f"{what} {path}: {error}") from None
    if not isinstance(content, dict):
        raise TaskError(f"{what} {path}: it is not a JSON object")
    return content
