"""One profile for all tests of laws: a loaded machine is no reason to fail."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("floss-sim", deadline=None)
settings.load_profile("floss-sim")
