"""Files of a backbone: its folder, config and weights, read without a framework."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from floss_sim.errors import TaskError
from floss_sim.tasks import hub

_CHUNK = 2**20  # bytes that are hashed at once


@dataclass(frozen=True)
class BackboneFiles:
    """A backbone on disk: a local folder with config.json and safetensors, or a hub id.

    Args:
        reference: The folder, or the hub id.
        folder: Where relative paths start.
        fetch: Whether a hub id may be downloaded.
        where: Names the task in errors.
    """

    reference: str
    folder: Path
    fetch: bool
    where: str

    @cached_property
    def path(self) -> Path:
        """The local folder.

        Raises:
            TaskError: A hub id that is not in the local cache, and may not or cannot be fetched.
        """
        return hub.backbone_folder(self.reference, self.folder, fetch=self.fetch)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of ``config.json``.

        Raises:
            TaskError: Missing or not a JSON object.
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
        """SHA-256 of the config, the weights and, if there is one, the tokenizer; in hex.

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
        """Return the bytes of the weights on disk.

        Raises:
            TaskError: There are none.
        """
        weights = list(self.path.glob("*.safetensors"))
        if not weights:
            raise TaskError(f"{self.where}: no weights (*.safetensors) in {self.path}")
        return sum(path.stat().st_size for path in weights)
