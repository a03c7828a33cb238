"""Tier: a share of the fleet, and the entries that its clients download, train and upload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from floss_sim.methods.schedules import DrawnByDispatch, Schedule
from floss_sim.methods.selectors import SameMask, Selector
from floss_sim.vectors.layout import Layout


@dataclass(frozen=True)
class Tier:
    """Share of the fleet, with the selectors of its downloads, uploads and trained entries.

    Attributes:
        share: Share of the fleet, above 0.
        download: Selector of downloads, or its schedule.
        upload: Selector of uploads, or its schedule.
        trained: Schedule of the entries that train, which both ends build from the download; None:
            the downloaded entries if the upload has their mask, else all. Where it is given, the
            server's step moves only entries that a client of the round trained.
    """

    share: float
    download: Selector | Schedule
    upload: Selector | Schedule | SameMask
    trained: Schedule | None = None

    def settings(self) -> dict[str, Any]:
        """Return the selectors as plain values."""
        trained = () if self.trained is None else (("trained", self.trained),)
        return {
            f"{way}_{name}": value
            for way, selector in (("down", self.download), ("up", self.upload), *trained)
            for name, value in selector.settings().items()
        }

    @property
    def downloads_by_dispatch(self) -> bool:
        """Whether each dispatch downloads a mask of its own."""
        return isinstance(self.download, DrawnByDispatch) and self.download.by_dispatch

    @property
    def is_scheduled(self) -> bool:
        """Whether an entry's part in messages or training changes with the version."""
        parts = (self.download, self.upload, self.trained)
        return any(isinstance(part, Schedule) for part in parts)

    def training_scale(self, layout: Layout) -> float:
        """Return the factor of LoRA's scale while a client trains (FSLoRA: rank / kept ranks)."""
        download = self.download
        return download.scale(layout) if isinstance(download, DrawnByDispatch) else 1.0

    def describe(self) -> str:
        """Return a description such as ``down 1/4, up 1/16``."""
        if not isinstance(self.upload, SameMask):
            return f"down {self.download.describe()}, up {self.upload.describe()}"
        if self.trained is not None:
            return self.trained.describe()
        return f"{self.download.describe()} both ways"
