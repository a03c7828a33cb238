"""Normalisation of images: from a task's keys or from a backbone's image processor file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from floss_sim.errors import TaskError

_PIXEL_SCALE = 1 / 255  # the model library's default, and the task's own meaning of mean and std
_DEFAULT = 0.5  # the model library's mean and std of ViT processors
# Processors of ViT, whose defaults are known; the model library takes one where a file names none.
_PROCESSORS = ("ViTImageProcessor", "ViTImageProcessorFast", "ViTImageProcessorPil",
               "ViTFeatureExtractor")  # fmt: skip
# Steps that change values of pixels in ways that are not followed.
_UNSUPPORTED = ("rescale_offset", "do_flip_channel_order", "do_convert_grayscale", "do_invert")


@dataclass(frozen=True)
class Normalisation:
    """Values of pixels 0 .. 255 as a backbone reads them: (pixel * scale - mean) / std.

    Args:
        mean: Mean of each channel; None: nothing is subtracted.
        std: Standard deviation of each channel; None: no division.
        scale: Factor of a pixel's value; None: 1 / 255.
        source: Name of the file that says so; empty: the task's own keys.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None
    source: str = ""

    def settings(self) -> dict[str, Any]:
        """Return what the file adds to a run's ``preprocess`` settings; empty for a task's keys."""
        if not self.source:
            return {}
        found = {"mean": self.mean, "std": self.std, "rescale_factor": self.scale}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in found.items()
            if value is not None
        }

    def describe(self) -> str:
        """Return the normalisation in words, such as ``0 to 1, mean 0.5, std 0.5 (the task)``."""
        scale = "pixels 0 to 1" if self.scale is None else f"pixels times {self.scale:.6g}"
        parts = [scale]
        if self.mean is not None and self.std is not None:
            parts += [f"mean {_text(self.mean)}", f"std {_text(self.std)}"]
        else:
            parts.append("no mean and std")
        return f"{', '.join(parts)} (from {self.source or 'the task file'})"


def processor_file(used: Normalisation, size: Mapping[str, int]) -> dict[str, Any]:
    """Return a ``preprocessor_config.json`` of a normalisation, for transformers.

    Args:
        used: The normalisation.
        size: ``height`` and ``width`` in pixels.
    """
    content: dict[str, Any] = {
        "image_processor_type": _PROCESSORS[0],
        "do_resize": True,
        "size": dict(size),
        "resample": 2,  # bilinear
        "do_rescale": True,
        "rescale_factor": _PIXEL_SCALE if used.scale is None else used.scale,
        "do_normalize": used.mean is not None,
    }
    if used.mean is not None and used.std is not None:
        content |= {"image_mean": list(used.mean), "image_std": list(used.std)}
    return content


def _text(values: tuple[float, ...]) -> str:
    shown = values[:1] if len(set(values)) == 1 else values
    return " ".join(f"{value:.6g}" for value in shown)


def read_normalisation(
    content: Mapping[str, Any], channels: int, source: str, where: str
) -> Normalisation:
    """Return the normalisation of an image processor's file.

    Args:
        content: The file's content.
        channels: Number of channels that the backbone reads.
        source: The file's name.
        where: The file in error messages.

    Raises:
        TaskError: A value is invalid, or the file asks for a step that is not supported.
    """
    advice = "or give preprocess.mean and preprocess.std in the task file"
    for key in _UNSUPPORTED:
        if content.get(key):
            raise TaskError(f"{where}: {key} is not supported; {advice}")
    scale = None
    if not _switch(content, "do_rescale", where):
        scale = 1.0
    elif content.get("rescale_factor") is not None:
        (factor,) = _numbers(content, "rescale_factor", 1, where)
        scale = None if factor == _PIXEL_SCALE else factor
    if not _switch(content, "do_normalize", where):
        return Normalisation(scale=scale, source=source)
    lacking = [key for key in ("image_mean", "image_std") if content.get(key) is None]
    kind = content.get("image_processor_type", content.get("feature_extractor_type"))
    if lacking and kind not in (None, *_PROCESSORS):
        raise TaskError(
            f"{where}: {lacking[0]} is missing, and the default of {str(kind)[:60]!r} is unknown; "
            f"add it, {advice}"
        )
    mean = _numbers(content, "image_mean", channels, where)
    std = _numbers(content, "image_std", channels, where)
    if min(std) <= 0:
        raise TaskError(f"{where}: image_std must hold numbers above 0")
    return Normalisation(mean, std, scale, source)


def _switch(content: Mapping[str, Any], key: str, where: str) -> bool:
    value = content.get(key)
    if value is not None and type(value) is not bool:
        raise TaskError(f"{where}: {key} must be true or false, not {str(value)[:60]!r}")
    return value is not False


def _numbers(content: Mapping[str, Any], key: str, count: int, where: str) -> tuple[float, ...]:
    """Return finite numbers, one for each channel; one number serves all channels."""
    value = content.get(key)
    values = [_DEFAULT if value is None else value] if not isinstance(value, list) else value
    wide = isinstance(value, list)
    real = all(type(v) in (int, float) and abs(v) < 1e30 and math.isfinite(v) for v in values)
    if not real or (wide and len(values) != count) or not values:
        raise TaskError(
            f"{where}: {key} must hold {count} finite number(s), one for each channel that the "
            f"backbone reads; not {str(value)[:60]}"
        )
    return tuple(float(v) for v in values) * (1 if wide else count)
