"""Which device trains, and what a learner of this room is called in fingerprints."""

from __future__ import annotations

from importlib.metadata import version

from floss_sim.errors import ConfigError

KIND = "torch-sequential"
DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for ``auto``, ``cpu`` or ``cuda``.

    A CPU build of torch is recognised by its version, without loading it.

    Raises:
        ConfigError: An unknown device, or CUDA where there is none.
    """
    if name not in DEVICES:
        raise ConfigError(f"unknown device {name!r}; valid: {', '.join(DEVICES)}")
    if name == "cpu":
        return "cpu"
    if not version("torch").endswith("+cpu"):
        import torch

        if torch.cuda.is_available():
            return "cuda"
    if name == "cuda":
        raise ConfigError("device 'cuda' is not available on this machine; valid: auto, cpu")
    return "cpu"
