"""Drawing library: the scripts of Vega, Vega-Lite and Vega-Embed as one text to inline."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_dir

from floss_sim.errors import ConfigError, RecordError
from floss_sim.files import write_atomically

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nothing is fetched from there
MISSING = "pages need vl-convert-python; pip install 'floss-sim[report]' brings it"
_PACKAGE = "vl_convert"
_VERSION = "6.1"  # of Vega-Lite
_MARK = "\n// sha256 "
_NAMES = "window.vegaEmbed = vegaEmbed;"


def is_installed() -> bool:
    """Return whether the drawing library is there."""
    return find_spec(_PACKAGE) is not None


def check_installed() -> None:
    """Raise ConfigError if the drawing library is missing; the message says how to get it."""
    if not is_installed():
        raise ConfigError(MISSING)


@cache
def library_script() -> str:
    """Return the script of the library, which defines ``vegaEmbed``.

    It takes a second to make, and is kept in the user's cache for the installed version.

    Raises:
        ConfigError: The library is not installed.
    """
    check_installed()
    kept = _kept_file()
    with suppress(OSError, ValueError):
        text, _, mark = kept.read_text(encoding="utf-8").rpartition(_MARK)
        if mark == _sha256(text):
            return text
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(snippet=_NAMES, vl_version=_VERSION)
    with suppress(OSError, RecordError):  # a cache that cannot be written is none
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, f"{bundle}{_MARK}{_sha256(bundle)}")
    return bundle


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _kept_file() -> Path:
    """Return the file of the user's cache for the installed version of the library."""
    own = version("vl-convert-python")
    return Path(user_cache_dir("floss-sim")) / "pages" / f"vega-embed-{own}-{_VERSION}.js"
