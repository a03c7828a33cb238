"""Wheel of the running library, without its commands: what an app needs before it is published.

The commands' libraries (typer, rich) are pinned by deployment frameworks to other versions, so that
the wheel leaves out the commands and these requirements. It has the code that is running, whether
that was installed from a wheel or from a checkout.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import metadata, requires
from importlib.resources import files
from pathlib import Path

_DISTRIBUTION = "floss-sim"
_PACKAGES = ("floss_sim", "network_profiles")
_LEFT_OUT = ("floss_sim/cli/", "floss_sim/__main__.py")
_UNNEEDED = ("rich", "typer")  # distributions that the commands alone import
_DATE = (2020, 1, 1, 0, 0, 0)  # of every file, so that equal code gives an equal wheel
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def write_wheel(folder: Path) -> Path:
    """Write the wheel into a folder; return its path.

    Raises:
        OSError: The file cannot be written.
    """
    stem = f"{_DISTRIBUTION.replace('-', '_')}-{metadata(_DISTRIBUTION)['Version']}"
    info, path = f"{stem}.dist-info", folder / f"{stem}-py3-none-any.whl"
    contents = dict(_code())
    contents[f"{info}/METADATA"] = _metadata().encode()
    contents[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: floss-sim\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = [f"{name},sha256={_digest(blob)},{len(blob)}" for name, blob in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, blob in contents.items():
            wheel.writestr(zipfile.ZipInfo(name, _DATE), blob, zipfile.ZIP_DEFLATED)
    return path


def _code() -> Iterator[tuple[str, bytes]]:
    """Yield the name in the wheel and the content of each file of the library."""
    for package in _PACKAGES:
        root = Path(str(files(package)))
        for file in sorted(root.rglob("*")):
            name = f"{package}/{file.relative_to(root).as_posix()}"
            if file.is_file() and "__pycache__" not in name and not name.startswith(_LEFT_OUT):
                yield name, file.read_bytes()


def _metadata() -> str:
    """Return the wheel's metadata: the library's, without what the commands alone need."""
    found = metadata(_DISTRIBUTION)
    kept = ("Metadata-Version", "Name", "Version", "Summary", "Requires-Python")
    needed = [
        text for text in requires(_DISTRIBUTION) or () if "extra ==" not in text and _used(text)
    ]
    lines = [f"{key}: {found[key]}" for key in kept]
    return "\n".join([*lines, *(f"Requires-Dist: {text}" for text in needed), ""])


def _used(requirement: str) -> bool:
    name = _NAME.match(requirement)
    return name is not None and name[0] not in _UNNEEDED


def _digest(blob: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()
