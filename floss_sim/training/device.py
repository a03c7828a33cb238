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
    present = ["cpu"] if name == "cpu" else _present_devices()
    if name == "auto":
        return present[0]
    if name not in present:
        raise ConfigError(
            f"device {name!r} is not available on this machine; "
            f"valid: auto, {', '.join(sorted(present))}"
        )
    return name


def check_precision(precision: str, device: str) -> None:
    """Check that a device has the numbers that a forward pass is to be computed in.

    Args:
        precision: ``"fp32"`` or ``"bf16"``.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``, which is there.

    Raises:
        ConfigError: It has not.
    """
    if precision == "bf16" and device != "cpu" and not _has_bfloat16(device):
        raise ConfigError(f"client.precision 'bf16': this {device!r} device lacks it; valid: fp32")


def _has_bfloat16(device: str) -> bool:
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        torch.zeros(1, dtype=torch.bfloat16, device=device)
    except (RuntimeError, TypeError):
        return False
    return True


def _present_devices() -> list[str]:
    """Return the devices of this machine, the fastest first."""
    if version("torch").endswith("+cpu"):
        return ["cpu"]
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(name for name, is_there in found.items() if is_there), "cpu"]
