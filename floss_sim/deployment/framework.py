"""Deployment frameworks that an app can run on, and their supported versions.

With ``FLOSS_SIM_ANY_FRAMEWORK=1`` in the environment another version is tried, too, so that it can
be measured (``experiments/flower``).
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

from floss_sim.errors import ConfigError

FLOWER = "flwr"
_ANY_VERSION = "FLOSS_SIM_ANY_FRAMEWORK"
_SUPPORTED = {FLOWER: ("1.42",)}  # major and minor version; patches do not change messages


def check_framework(package: str = FLOWER) -> str:
    """Return the name and version of an installed framework, such as ``flwr 1.42.0``.

    Raises:
        ConfigError: It is not installed, or the version is not supported.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        raise ConfigError(f"{package} is not installed; valid: {_valid(package)}") from None
    tried = os.environ.get(_ANY_VERSION) == "1"
    if found.rpartition(".")[0] not in _SUPPORTED[package] and not tried:
        raise ConfigError(f"{package} {found} is not supported; valid: {_valid(package)}")
    return f"{package} {found}"


def _valid(package: str) -> str:
    return ", ".join(f"{package} {number}" for number in _SUPPORTED[package])
