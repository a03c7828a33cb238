"""Transport of parcels: with the call itself, or by name in a folder that both ends share.

With a shared store a parcel lies in a hidden folder of the store, and its name alone travels. The
worker knows the store by ``$FLOSS_SIM_STORE`` of its own; a name has no path.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from floss_sim.errors import ConfigError

_MAGIC = b"floss-name 1\n"
_NAME = re.compile(rb"floss-name 1\n([0-9a-f]{32})/([0-9]{1,9})\.(job|answer)")
_STORE = "FLOSS_SIM_STORE"  # environment variable
_STALE_S = 7 * 86_400.0  # seconds after which the folder of a killed coordinator is removed
_SLOW_FILE_S = 5.0  # seconds until a file of another machine is seen here


class Transport(Protocol):
    """Way of parcels between the store's owner and workers."""

    def pack(self, parcel: bytes) -> bytes:
        """Return what is sent for a job."""

    def unpack(self, sent: bytes) -> bytes:
        """Return the parcel of an answer."""

    def close(self) -> None:
        """Remove what was left of it."""


class WithTheCall:
    """Parcels that travel with the calls."""

    def pack(self, parcel: bytes) -> bytes:
        """Return the parcel."""
        return parcel

    def unpack(self, sent: bytes) -> bytes:
        """Return the parcel."""
        return sent

    def close(self) -> None:
        """Do nothing."""


class InTheStore:
    """Parcels that lie in a folder of the store.

    Args:
        store: Folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._token = secrets.token_hex(16)
        self._count = 0

    def pack(self, parcel: bytes) -> bytes:
        """Write the parcel of a job; return its name."""
        folder = _folder(self._store, self._token)
        if not folder.exists():
            _remove_stale(self._store)
            folder.mkdir()
        self._count += 1
        return _write(self._store, self._token, f"{self._count}.job", parcel)

    def unpack(self, sent: bytes) -> bytes:
        """Return the parcel of an answer, which is removed with its job."""
        if not sent.startswith(_MAGIC):  # a worker that does not know the store says so
            return sent
        token, name = _parsed(sent)
        if token != self._token:
            raise ConfigError("an answer lies in the folder of another search")
        path = _folder(self._store, token) / name
        parcel = _read(path)
        path.unlink(missing_ok=True)
        path.with_suffix(".job").unlink(missing_ok=True)
        return parcel

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(_folder(self._store, self._token), ignore_errors=True)


def read_job(sent: bytes) -> bytes:
    """Return the parcel of a job at a worker.

    Raises:
        ConfigError: The worker does not know the store, or lacks the parcel.
    """
    if not _is_name(sent):
        return sent
    token, name = _parsed(sent)
    return _read(_folder(_own_store(), token) / name)


def write_answer(sent: bytes, parcel: bytes) -> bytes:
    """Return what a worker sends for an answer: its name, or itself if it cannot be written.

    Args:
        sent: What was sent for the job.
        parcel: The answer's parcel.
    """
    if not _is_name(sent):
        return parcel
    with suppress(ConfigError, OSError):
        token, name = _parsed(sent)
        return _write(_own_store(), token, f"{Path(name).stem}.answer", parcel)
    return parcel


def _is_name(sent: object) -> bool:
    return isinstance(sent, bytes) and sent.startswith(_MAGIC)


def _own_store() -> Path:
    chosen = os.environ.get(_STORE)
    if not chosen:
        raise ConfigError(
            f"a worker lacks {_STORE}; with --shared-store it must name the store's folder"
        )
    return Path(chosen).expanduser()


def _parsed(sent: bytes) -> tuple[str, str]:
    found = _NAME.fullmatch(sent)
    if found is None:
        raise ConfigError("no name of a parcel")
    return found[1].decode(), f"{found[2].decode()}.{found[3].decode()}"


def _folder(store: Path, token: str) -> Path:
    return store / f".parcels-{token}"


def _write(store: Path, token: str, name: str, parcel: bytes) -> bytes:
    path = _folder(store, token) / name
    temporary = path.with_name(f".{name}")
    temporary.write_bytes(parcel)
    temporary.replace(path)
    return _MAGIC + f"{token}/{name}".encode()


def _read(path: Path) -> bytes:
    """Return a file's content, which a network file system may show late."""
    end_s = time.monotonic() + _SLOW_FILE_S
    while not path.exists() and time.monotonic() < end_s:
        time.sleep(0.1)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the store of a worker lacks {path.name}: {error.strerror}") from None


def _remove_stale(store: Path) -> None:
    for path in store.glob(".parcels-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                shutil.rmtree(path, ignore_errors=True)
