"""What a method is, and the methods there are.

======  ==================  =================  ================
method  download            entries trained    upload
======  ==================  =================  ================
dense   all                 all                all
floss   top-k(d_down) of P  all                top-k(d_up) of D
======  ==================  =================  ================

P is the server's vector and D a client's update, the difference between what it decoded and what
it holds after local training (FLoSS: Raje, CMU thesis 2024, chapter 4; published as FLASC).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.methods.selectors import Everything, Selector, TopK


@dataclass(frozen=True)
class Method:
    """A federated fine-tuning method: what travels down and what travels up."""

    name: str
    download: Selector
    upload: Selector
    trains: str = "lora"  # which entries there are: a key of ``layout.LAYOUTS``

    def settings(self) -> dict[str, Any]:
        """Return the method as plain values, for records and fingerprints.

        Densities alone: a FLoSS run at 1 and 1 is the dense run, and shares its fingerprint.
        """
        return {"down_density": self.download.density, "up_density": self.upload.density}


def dense() -> Method:
    """Return dense LoRA: every entry travels both ways."""
    return Method("dense", Everything(), Everything())


def floss(down_density: float, up_density: float) -> Method:
    """Return FLoSS with a download and an upload density, each in (0, 1].

    Raises:
        DensityError: A density outside (0, 1].
    """
    return Method("floss", TopK(down_density), TopK(up_density))


METHODS: Mapping[str, Callable[[float, float], Method]] = {
    "floss": floss,
    "dense": lambda down_density, up_density: dense(),
}


def method_from_name(name: str, down_density: float = 1.0, up_density: float = 1.0) -> Method:
    """Return the method of a name.

    Raises:
        ConfigError: An unknown name, or a density below 1 for a method that sends everything.
        DensityError: A density outside (0, 1].
    """
    if name not in METHODS:
        raise ConfigError(f"unknown method {name!r}; valid: {', '.join(METHODS)}")
    if name == "dense" and (down_density, up_density) != (1.0, 1.0):
        raise ConfigError("method 'dense' sends everything; use method 'floss' for densities")
    return METHODS[name](down_density, up_density)
