"""Drawing library: the scripts of Vega, Vega-Lite and Vega-Embed as one text to inline."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from floss_sim.errors import ConfigError

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nothing is fetched from there
MISSING = "pages need vl-convert-python; pip install 'floss-sim[report]' brings it"
_PACKAGE = "vl_convert"
_VERSION = "6.1"  # of Vega-Lite
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
    """Return the script of the library, which defines ``vegaEmbed``; it takes a second to make.

    Raises:
        ConfigError: The library is not installed.
    """
    check_installed()
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(snippet=_NAMES, vl_version=_VERSION)
    return bundle
