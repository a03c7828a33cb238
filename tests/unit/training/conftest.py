"""Tiny backbones of each known family on disk, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import ROLES, tiny_model


@pytest.fixture(scope="package")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each family's backbone; tests must not write to them."""
    home = tmp_path_factory.mktemp("backbones")
    for family in ROLES:
        tiny_model(family).save_pretrained(home / family)
    return {family: home / family for family in ROLES}
