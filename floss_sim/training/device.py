"""Training devices: names, availability and bfloat16 support."""

from __future__ import annotations

from importlib.metadata import version

from floss_sim.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str) -> str:
    """Return the device to train on: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    A CPU build of torch is recognised by its version string, without importing torch.

    Args:
        name: ``"cpu"``, ``"cuda"``, ``"mps"`` or ``"auto"``. ``"auto"`` takes CUDA if available,
            else Apple's GPU (mps), else the CPU.

    Raises:
        ConfigError: The device is unknown, or not available on this machine.
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
    """Check that a device supports the precision of the forward pass.

    Args:
        precision: ``"fp32"`` or ``"bf16"``.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``; must be available.

    Raises:
        ConfigError: The device does not support bfloat16.
    """
    if precision == "bf16" and device != "cpu" and not _has_bfloat16(device):
        raise ConfigError(
            f"client.precision 'bf16' is not supported by this {device!r} device; valid: fp32"
        )


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
    """Return the names of this machine's devices, fastest first."""
    if version("torch").endswith("+cpu"):
        return ["cpu"]
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(name for name, is_there in found.items() if is_there), "cpu"]
