"""Files of a backbone: folder, config and weights, read without a training framework."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from floss_sim.errors import TaskError
from floss_sim.families import StoredTensor, find_weights_problem
from floss_sim.families.sizes import key_reader
from floss_sim.json_object import read_json_object
from floss_sim.tasks import hub
from floss_sim.tasks.normalisation import Normalisation, read_normalisation
from floss_sim.tasks.weight_files import loaded_weight_files, stored_tensors

_CHUNK = 2**20  # bytes read from a file at a time while hashing
_ADAPTER = "adapter_*"  # PEFT's files: adapter_config.json, adapter_model.safetensors
_ADAPTER_CONFIG = "adapter_config.json"
# Keys of a config that change how weights are stored or computed, and their harmless values.
_UNSUPPORTED_KEYS: dict[str, tuple[Any, ...]] = {
    "quantization_config": (None,),
    "fusion_config": (None,),
    "transformers_weights": (None,),
    "chunk_size_feed_forward": (None, 0),
    "attn_implementation": (None, "eager", "sdpa"),
    "_attn_implementation": (None, "eager", "sdpa"),
}


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
            TaskError: The file is missing, does not hold a JSON object, or asks for something that
                is not supported.
        """
        path = self.path / "config.json"
        content = read_json_object(path, f"{self.where}: cannot read backbone")
        for key, harmless in _UNSUPPORTED_KEYS.items():
            value = content.get(key)
            if not any(value is one or (value == one and type(value) is type(one))
                       for one in harmless):  # fmt: skip
                valid = ", ".join("null" if one is None else str(one) for one in harmless)
                raise TaskError(
                    f"{self.where}: {path} sets {key} to {str(value)[:60]!r}, which is not "
                    f"supported; valid: {valid}"
                )
        return content

    @cached_property
    def weight_files(self) -> tuple[Path, ...]:
        """The files that are loaded: ``model.safetensors``, or the shards that its index names.

        Raises:
            TaskError: There are none, or the index is damaged.
        """
        return loaded_weight_files(self.path, self.where)

    @cached_property
    def has_adapter(self) -> bool:
        """Whether an adapter lies in the folder; it is not loaded, but transformers loads it."""
        return (self.path / _ADAPTER_CONFIG).is_file()

    @property
    def hashed_files(self) -> tuple[Path, ...]:
        """The files whose bytes in this order have the SHA-256 of :attr:`digest`.

        The config, the weights, and the tokenizer if the folder has one. The files of an adapter in
        the folder do not count, because they are not loaded.
        """
        weights = sorted(
            path for path in self.path.glob("*.safetensors") if not path.match(_ADAPTER)
        ) or [self.path / "model.safetensors"]
        tokenizer = self.path / "tokenizer.json"
        return (self.path / "config.json", *weights, *[tokenizer] * tokenizer.is_file())

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the files that count.

        Raises:
            TaskError: A file is missing or cannot be read.
        """
        digest = hashlib.sha256()
        for path in self.hashed_files:
            try:
                with path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        digest.update(chunk)
            except OSError as error:
                raise TaskError(f"{self.where}: {error}") from None
        if self.has_adapter and (self.path / "adapter_model.bin").is_file():
            # Earlier versions trained on top of it, under the digest without this line.
            digest.update(b"adapter_model.bin is not loaded")
        return digest.hexdigest()

    def weights_nbytes(self) -> int:
        """Return the size in bytes of the weight files that are loaded.

        Raises:
            TaskError: The folder holds no weights.
        """
        return sum(path.stat().st_size for path in self.weight_files)

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """Shape and type of all tensors in the weight files, by name.

        Raises:
            TaskError: A file is missing or damaged.
        """
        return stored_tensors(self.weight_files, self.where)

    def check_weights(self, labels: int) -> None:
        """Check that the weight files hold the tensors of the config, without loading them.

        Args:
            labels: Number of classes of the new head; 0 for a next-token model.

        Raises:
            TaskError: A tensor is missing, has another shape or type, or is not used; or a file is
                damaged.
            LayoutError: A size in the config is invalid.
        """
        problem = find_weights_problem(self.config, labels, self.tensors)
        if problem:
            raise TaskError(f"{self.where}: cannot load backbone {self.path}: {problem}")

    @cached_property
    def normalisation(self) -> Normalisation:
        """The normalisation that the folder's image processor file states; none without a file.

        Raises:
            TaskError: The file is damaged or asks for something that is not supported.
        """
        what = f"{self.where}: cannot read"
        inner = self.config.get("vision_config")
        vision = inner if isinstance(inner, dict) else {}
        channels = key_reader("num_channels", 3)({**vision, **self.config})
        nested = self.path / "processor_config.json"
        if nested.is_file():
            stated = read_json_object(nested, what).get("image_processor")
            if isinstance(stated, dict):
                return read_normalisation(stated, channels, nested.name, f"{self.where}: {nested}")
        path = self.path / "preprocessor_config.json"
        if not path.is_file():
            return Normalisation()
        return read_normalisation(
            read_json_object(path, what), channels, path.name, f"{self.where}: {path}"
        )
