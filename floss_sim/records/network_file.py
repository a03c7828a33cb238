"""File of a run folder with the network of its record, where that is no packaged one.

It is a gzipped text, written before the first round. No manifest names it: a folder without it is
whole, and shows the recorded seconds alone. Its reader checks it against the timing fingerprint.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from floss_sim.errors import RecordError
from floss_sim.files import leaves_folder, remove, replace_file
from floss_sim.records import file_names

MOST_BYTES = 16_000_000  # of the text: 200,000 rows or more, up to 8 MB of the file
_REMEDY = "remove this file: the recorded seconds then have no interval"


def write_network(folder: Path, text: str | None) -> None:
    """Replace the network of a run folder; None removes it.

    Args:
        folder: Run folder.
        text: The network as a text of at most ``MOST_BYTES``.

    Raises:
        RecordError: The file cannot be written.
    """
    path = folder / file_names.NETWORK
    if text is None:
        remove(path)
        return
    content = gzip.compress(text.encode(), mtime=0)  # equal for equal texts
    if not path.is_symlink() and path.is_file() and path.read_bytes() == content:
        return
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def read_network(folder: Path) -> str | None:
    """Return the network of a run folder as a text, or None if the folder keeps none.

    Raises:
        RecordError: The file is damaged, too large, or a link to a file outside the folder.
    """
    path = folder / file_names.NETWORK
    if not (path.exists() or path.is_symlink()):
        return None
    try:
        if leaves_folder(path):
            raise RecordError(f"{path} links to a file outside the folder; {_REMEDY}")
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise RecordError(f"{path} is damaged (too large); {_REMEDY}")
        return content.decode()
    except (EOFError, UnicodeDecodeError, zlib.error, gzip.BadGzipFile):
        raise RecordError(f"{path} is damaged (no gzipped text); {_REMEDY}") from None
    except (OSError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or "a link to itself"
        raise RecordError(f"cannot read {path}: {said}; {_REMEDY}") from None
