"""References to data sets and backbones: local paths or hub ids.

A reference is a local path if that path exists. Otherwise it is a hub id if it has the form of one
(``gpt2``, ``owner/name``). Without ``fetch`` only the local caches of the hub's own libraries are
read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from floss_sim.errors import TaskError
from floss_sim.tasks.arrays import DIGITS
from floss_sim.toml_json import shorten

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FILE = re.compile(r".*\.(npz|csv|json|jsonl|parquet)(\.gz)?")
_CONFIG = "config.json"
_BACKBONE_FILES = (
    _CONFIG,
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
_NOT_LOADED = ("adapter_*", "consolidated*.safetensors")  # an adapter, a second copy of the weights
_CONFIG_HINT = "give a model folder or a config.json"
_LOCAL_HINT = "give local files with --dataset (data.dataset) and --backbone (backbone.model)"


def locate(reference: str, folder: Path) -> Path | None:
    """Return the local path of a reference, or None for a hub id."""
    path = folder / Path(reference).expanduser()
    if not path.exists() and _ID.fullmatch(reference) and not _FILE.fullmatch(reference):
        return None
    return path


def check_id(text: str) -> str:
    """Return a hub id unchanged.

    Raises:
        ValueError: The text has no form of a hub id.
    """
    if not _ID.fullmatch(text):
        raise ValueError(f"must be a hub id such as 'owner/name', not {shorten(text)}")
    return text


def public_name(reference: str, folder: Path) -> str:
    """Return a reference without a place of this machine: a hub id, or the name of a local path.

    Args:
        reference: A local path or a hub id.
        folder: The folder to which a relative path refers.
    """
    path = None if reference == DIGITS else locate(reference, folder)
    return reference if path is None else Path(os.path.normpath(path.absolute())).name


def absolute_reference(reference: str) -> str:
    """Return a reference of a command line: a local path made absolute, a hub id unchanged."""
    path = None if reference == DIGITS else locate(reference, Path.cwd())
    return reference if path is None else str(path.absolute())


def backbone_folder(reference: str, folder: Path, *, fetch: bool) -> Path:
    """Return the local folder of a backbone.

    Args:
        reference: A path relative to ``folder``, or a hub id.
        folder: The folder to which a relative path refers.
        fetch: Whether a hub id may be downloaded.

    Raises:
        TaskError: The hub id is not in the local cache, and a download is not allowed or fails.
    """
    path = locate(reference, folder)
    if path is not None:
        return path
    import huggingface_hub

    with hub_errors("backbone", reference, fetch=fetch), quiet_hub():
        return Path(
            huggingface_hub.snapshot_download(
                reference,
                local_files_only=not fetch,
                allow_patterns=list(_BACKBONE_FILES),
                ignore_patterns=list(_NOT_LOADED),
            )
        )


def config_file(reference: str, folder: Path, *, fetch: bool) -> Path:
    """Return the path of a backbone's ``config.json``; no other file is downloaded.

    A config in the hub's local cache is used as it is, and nothing is asked then.

    Args:
        reference: A model folder, a ``config.json`` itself, or a hub id.
        folder: The folder to which a relative path refers.
        fetch: Whether a hub id may be downloaded.

    Raises:
        TaskError: The hub id is not in the local cache, and a download is not allowed or fails.
    """
    path = locate(reference, folder)
    if path is not None:
        return path / _CONFIG if path.is_dir() else path
    import huggingface_hub

    with hub_errors("backbone", reference, fetch=fetch, hint=_CONFIG_HINT), quiet_hub():
        cached = huggingface_hub.try_to_load_from_cache(reference, _CONFIG)
        if isinstance(cached, str):
            return Path(cached)
        if not fetch:
            raise FileNotFoundError(_CONFIG)
        # A hub that does not answer is an error at once; the download would retry for 20 s.
        huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(reference, _CONFIG))
        return Path(huggingface_hub.hf_hub_download(reference, _CONFIG))


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Disable progress bars and logs of the hub's library for the block."""
    from huggingface_hub import utils

    level, shown = utils.logging.get_verbosity(), not utils.are_progress_bars_disabled()
    utils.logging.set_verbosity_error()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.logging.set_verbosity(level)
        if shown:
            utils.enable_progress_bars()


@contextmanager
def hub_errors(
    what: str, reference: str, *, fetch: bool, hint: str = _LOCAL_HINT
) -> Iterator[None]:
    """Turn every error of a hub library into a TaskError of one line with a remedy, ``hint``.

    Raises:
        TaskError: The files are not in the local cache, the hub is not reachable, the reference is
            gated or absent, or any other error occurred.
    """
    try:
        yield
    except Exception as error:  # the libraries pass on errors of several HTTP clients
        name = f"{what} {reference!r}"
        raise TaskError(f"{name} {_reason(error, fetch=fetch, hint=hint)}") from None


def _reason(error: Exception, *, fetch: bool, hint: str) -> str:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = first_line(error)
    if not fetch:
        return f"is neither a local path nor in the hub's local cache; {hint}, or add --fetch"
    if "GatedRepoError" in kinds or "is a gated dataset" in said:
        return (
            "is gated on the hub: ask for access on its page and log in with 'hf auth login', "
            f"or {hint}"
        )
    if "RevisionNotFoundError" in kinds:
        return f"has no such revision on the hub; {hint}"
    if "RemoteEntryNotFoundError" in kinds:
        return f"has no {_CONFIG} on the hub; {hint}"
    if {"RepositoryNotFoundError", "DatasetNotFoundError"} & kinds:
        return f"does not exist on the hub, or is private; {hint}"
    return f"could not be fetched from the hub ({said}); {hint}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or of its cause's message."""
    lines = str(error.__cause__ or error).splitlines()
    return lines[0] if lines else type(error).__name__
