"""Machine type: what a machine's last bits depend on, without a name of the machine.

Two machines of one type compute the same bits of one trajectory. A run whose parts are of several
types has the bits of none of them.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from floss_sim.documents import OneLine, Section

_CPU_INFO = Path("/proc/cpuinfo")
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


class MachineType(Section):
    """Type of a machine.

    Attributes:
        instruction_set: Architecture of the processor, such as ``"x86_64"``.
        matrix_library: Capability that torch's matrix library uses, such as ``"AVX512"``; on a GPU
            its compute capability and the version of CUDA.
        device: Name of the processor's or the GPU's model.
    """

    instruction_set: OneLine
    matrix_library: OneLine
    device: OneLine

    def describe(self) -> str:
        """Return the type in words."""
        return ", ".join(part for part in self.model_dump().values() if part)


@cache
def machine_type(device: str) -> MachineType:
    """Return the type of this machine for training on a device; imports torch.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    import torch

    architecture = platform.machine()
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        library = f"compute capability {major}.{minor}, CUDA {torch.version.cuda}"
        return MachineType(
            instruction_set=architecture,
            matrix_library=library,
            device=torch.cuda.get_device_name(),
        )
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ]
    library = ", ".join([torch.backends.cpu.get_cpu_capability(), *limits])
    name = _processor_name() + (" (mps)" if device == "mps" else "")
    return MachineType(instruction_set=architecture, matrix_library=library, device=name)


def _processor_name() -> str:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor()
