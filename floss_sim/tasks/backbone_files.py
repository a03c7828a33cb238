"""Files of a backbone: folder, config and weights, read without a training framework."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from floss_sim.errors import TaskError
from floss_sim.tasks import hub

_CHUNK = 2**20  # bytes read from a file at a time while hashing


@dataclass(frozen=True)
class BackboneFiles:
    """A backbone: a local folder with config.json and safetensors, or a hub id.

    Args:
        reference: The path of the folder, or the hub id.
        folder: The folder to which a relative path refers.
        fetch: Whether a hub id may be downloaded.
        where: The task's name in error messages.
    """

    reference: str
    folder: Path
    fetch: bool
    where: str

    @cached_property
    def path(self) -> Path:
        """The local folder.

        Raises:
            TaskError: The hub id is not in the local cache, and a download is not allowed or fails.
        """
        return hub.backbone_folder(self.reference, self.folder, fetch=self.fetch)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of ``config.json``.

        Raises:
            TaskError: The file is missing or does not hold a JSON object.
        """
        path = self.path / "config.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TaskError(f"{self.where}: cannot read backbone {path}: {error}") from None
        if not isinstance(content, dict):
            raise TaskError(f"{self.where}: {path} is not a JSON object")
        return content

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the config, the weights and the tokenizer if the folder has one.

        Raises:
            TaskError: A file is missing or cannot be read.
        """
        weights = sorted(self.path.glob("*.safetensors")) or [self.path / "model.safetensors"]
        tokenizer = self.path / "tokenizer.json"
        digest = hashlib.sha256()
        for path in (self.path / "config.json", *weights, *[tokenizer] * tokenizer.is_file()):
            try:
                with path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        digest.update(chunk)
            except OSError as error:
                raise TaskError(f"{self.where}: {error}") from None
        return digest.hexdigest()

    def weights_nbytes(self) -> int:
        """Return the size of the weight files in bytes.

        Raises:
            TaskError: The folder holds no weights.
        """
        weights = list(self.path.glob("*.safetensors"))
        if not weights:
            raise TaskError(f"{self.where}: no weights (*.safetensors) in {self.path}")
        return sum(path.stat().st_size for path in weights)
