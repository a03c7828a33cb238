"""Weight files of a backbone's folder: which ones are loaded, and the tensors that they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from floss_sim.errors import TaskError
from floss_sim.families.stored import StoredTensor
from floss_sim.json_object import read_json_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def loaded_weight_files(folder: Path, where: str) -> tuple[Path, ...]:
    """Return the weight files that are loaded: ``model.safetensors``, or the shards of its index.

    Other files of the folder, such as an adapter's, are not loaded.

    Args:
        folder: The backbone's folder.
        where: The task's name in error messages.

    Raises:
        TaskError: There is neither file, the index is damaged, or a shard is missing.
    """
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file():
        return (single,)
    if not index.is_file():
        raise TaskError(f"{where}: no weights in {folder}: neither {SINGLE} nor {INDEX}")
    shards = sorted(set(_weight_map(index, where).values()))
    for name in shards:
        if not (folder / name).is_file():
            raise TaskError(f"{where}: {index} names {name!r}, which is not in the folder")
    return tuple(folder / name for name in shards)


def _weight_map(index: Path, where: str) -> Mapping[str, str]:
    """Return the name of the shard of each tensor."""
    content = read_json_object(index, f"{where}: cannot read").get("weight_map")
    if not isinstance(content, dict) or not content:
        raise TaskError(f"{where}: {index} holds no weight_map")
    for name in content.values():
        plain = isinstance(name, str) and name.endswith(".safetensors") and _is_plain(name)
        if not plain:
            raise TaskError(
                f"{where}: {index} names {str(name)[:60]!r}; valid: a .safetensors file of the "
                "folder"
            )
    return content


def _is_plain(name: str) -> bool:
    return not set(name) & set("/\\:\0\n") and not name.startswith(".")


def stored_tensors(files: Sequence[Path], where: str) -> dict[str, StoredTensor]:
    """Return shape and type of all tensors in weight files, by name; no values are read.

    Raises:
        TaskError: A file is no safetensors file, two files hold the same tensor, or a file lacks
            a tensor that the index names.
    """
    found: dict[str, StoredTensor] = {}
    origin: dict[str, Path] = {}
    for path in files:
        for name, tensor in _tensors(path, where):
            if name in found:
                raise TaskError(f"{where}: tensor {name!r} is in {origin[name].name} and in {path}")
            found[name], origin[name] = tensor, path
    if files and files[0].name != SINGLE:
        _check_index(files[0].parent / INDEX, origin, where)
    return found


def _tensors(path: Path, where: str) -> Iterator[tuple[str, StoredTensor]]:
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - the file is no dictionary
                part = file.get_slice(name)
                yield name, StoredTensor(tuple(part.get_shape()), part.get_dtype())
    except (SafetensorError, OSError, ValueError) as error:
        raise TaskError(f"{where}: cannot read {path}: {error}".splitlines()[0]) from None


def _check_index(index: Path, origin: Mapping[str, Path], where: str) -> None:
    for tensor, name in _weight_map(index, where).items():
        if tensor not in origin or origin[tensor].name != name:
            raise TaskError(f"{where}: {index} names tensor {tensor!r}, which {name} does not hold")
