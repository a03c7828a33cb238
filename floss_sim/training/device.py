"""Which device trains."""

from __future__ import annotations

from importlib.metadata import version

from floss_sim.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str) -> str:
    """Return ``"cpu"``, ``"cuda"`` or ``"mps"`` for one of these or ``auto``.

    ``auto`` takes CUDA where there is one, else Apple's GPU, else the CPU. A CPU build of torch
    is recognised by its version, without loading it.

    Raises:
        ConfigError: An unknown device, or one that is not there.
    """
    if name not in DEVICES:
        raise ConfigError(f"unknown device {name!r}; valid: {', '.join(DEVICES)}")
    present = ["cpu"] if name == "cpu" else _present()
    if name == "auto":
        return present[0]
    if name not in present:
        raise ConfigError(
            f"device {name!r} is not available on this machine; "
            f"valid: auto, {', '.join(sorted(present))}"
        )
    return name


def _present() -> list[str]:
    """Return the devices of this machine, the fastest first."""
    if version("torch").endswith("+cpu"):
        return ["cpu"]
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(name for name, is_there in found.items() if is_there), "cpu"]
