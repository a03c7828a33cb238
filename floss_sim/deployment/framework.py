"""Deployment frameworks that an app can run on, and their supported versions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from floss_sim.errors import ConfigError

FLOWER = "flwr"
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
    if found.rpartition(".")[0] not in _SUPPORTED[package]:
        raise ConfigError(f"{package} {found} is not supported; valid: {_valid(package)}")
    return f"{package} {found}"


def _valid(package: str) -> str:
    return ", ".join(f"{package} {number}" for number in _SUPPORTED[package])
