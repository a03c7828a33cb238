"""What a method is: which entries there are, which of them travel, train and return.

==============  ==================  =======================  ===============  ================
method          entries             download                 entries trained  upload
==============  ==================  =======================  ===============  ================
dense           LoRA A, B, head     all                      all              all
floss           LoRA A, B, head     top-k(d_down) of P       all              top-k(d_up) of D
floss-tiers     LoRA A, B, head     as floss, densities by client tier
sparse-adapter  LoRA A, B, head     one frozen mask          the mask         the mask
adapter-lth     LoRA A, B, head     one shrinking mask       the mask         the mask
hetlora         LoRA A, B, head     some ranks, by tier      those ranks      those ranks
ffa             LoRA B, head        as floss                 all              as floss
bitfit          biases, head        as floss                 all              as floss
full            everything          as floss                 all              as floss
head            head                as floss                 all              as floss
==============  ==================  =======================  ===============  ================

P is the server's vector and D a client's update, the difference between what it decoded and what
it holds after local training. Sources: FLoSS, Raje, CMU thesis 2024, chapter 4 (published as
FLASC, whose tiers are here too); SparseAdapter, He et al. 2022; AdapterLTH, Wu and Chen 2022;
HetLoRA, Cho et al. 2024; FFA-LoRA, Sun et al. 2024; BitFit, Ben Zaken et al. 2022.

Clients fall into tiers as into the classes of a network profile, in the order of their numbers,
so that a tier may coincide with a class of links.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

from floss_sim.errors import ConfigError
from floss_sim.methods.persistent_masks import PersistentMask
from floss_sim.methods.selectors import SameMask, Selector
from floss_sim.vectors.density import format_density
from floss_sim.vectors.layout import Layout
from floss_sim.wire import VALUE_CODES, predict_nbytes

Divisor = Literal["cohort", "covering"]
DIVISORS: tuple[Divisor, ...] = ("cohort", "covering")


@dataclass(frozen=True)
class Tier:
    """A share of the fleet, and what travels to and from its clients."""

    share: float
    download: Selector
    upload: Selector | SameMask

    def settings(self) -> dict[str, Any]:
        """Return both selectors as plain values."""
        return {
            f"{way}_{name}": value
            for way, selector in (("down", self.download), ("up", self.upload))
            for name, value in selector.settings().items()
        }


@dataclass(frozen=True)
class MessageSize:
    """A message before its values are known: ``count`` entries of ``universe`` candidates."""

    universe: int
    count: int

    def nbytes(self, values: str) -> int:
        """Return the predicted bytes under a value code."""
        return predict_nbytes(self.universe, self.count, values)


@dataclass(frozen=True)
class Method:
    """A federated fine-tuning method.

    Attributes:
        name: What users call it.
        tiers: Shares of the fleet that add up to 1, each with its selectors.
        trains: Which entries there are: a key of ``layout.LAYOUTS``.
        persistent: The one mask of all clients, where there is one; downloads then follow it.
        down_values: Value code of downloads.
        up_values: Value code of uploads.
        error_feedback: Clients keep what was not sent and add it to their next update.
        mask_ledger: The server remembers which mask each client holds, and writes the next one
            within it (a persistent one) or beside it. Clients and server must keep state, which
            suits fleets of known devices only.
        divisor: The mean update of an entry is taken over the ``"cohort"``, or over the clients
            ``"covering"`` it, that is, those whose mask holds it.

    Raises:
        ConfigError: Shares that do not add up to 1, an unknown value code or divisor, or
            options that exclude each other.
    """

    name: str
    tiers: tuple[Tier, ...]
    trains: str = "lora"
    persistent: PersistentMask | None = None
    down_values: str = "fp32"
    up_values: str = "fp32"
    error_feedback: bool = False
    mask_ledger: bool = False
    divisor: Divisor = "cohort"

    def __post_init__(self) -> None:
        total = sum(tier.share for tier in self.tiers)
        if not math.isclose(total, 1, abs_tol=1e-6) or min(t.share for t in self.tiers) <= 0:
            raise ConfigError(f"the shares of the tiers add up to {total:g}, not 1")
        if len({isinstance(tier.upload, SameMask) for tier in self.tiers}) > 1:
            raise ConfigError(f"some tiers of method {self.name!r} train a mask and some do not")
        for code in (self.down_values, self.up_values):
            if code not in VALUE_CODES:
                raise ConfigError(f"unknown value code {code!r}; valid: {', '.join(VALUE_CODES)}")
        if self.mask_ledger and self.persistent is None and self._shares_all_masks:
            raise ConfigError(
                f"a mask ledger needs downloads whose mask is sent; both ends of method "
                f"{self.name!r} build it"
            )
        if self.divisor not in DIVISORS:
            raise ConfigError(f"unknown divisor {self.divisor!r}; valid: {', '.join(DIVISORS)}")
        if self.divisor == "covering" and not self.is_masked:
            raise ConfigError(
                "divisor 'covering' needs clients that train a mask; "
                f"those of method {self.name!r} train all entries"
            )

    @property
    def is_masked(self) -> bool:
        """Whether clients train and return only the entries that they were sent."""
        return self.persistent is not None or isinstance(self.tiers[0].upload, SameMask)

    @property
    def _shares_all_masks(self) -> bool:
        return all(tier.download.shared for tier in self.tiers)

    def ledger_nbytes(self, layout: Layout, clients: int, rounds: int) -> int:
        """Return the bytes that the server's mask ledger takes after so many rounds, at most."""
        ledger = 4 * clients
        if self.persistent:
            return ledger + 4 * layout.entries
        return ledger + min(clients, len(self.tiers) * rounds) * -(-layout.entries // 8)

    def tier_of(self, client: int, fleet: int) -> int:
        """Return the tier of a client: the one whose cumulative share covers (i + 1/2) / n."""
        if len(self.tiers) == 1:
            return 0
        return min(bisect_left(self._ends, (client + 0.5) / fleet), len(self.tiers) - 1)

    @cached_property
    def _ends(self) -> tuple[float, ...]:
        """Cumulative shares."""
        return tuple(accumulate(tier.share for tier in self.tiers))

    def widest_tier(self, layout: Layout) -> int:
        """Return the tier that downloads most: its download is the model."""
        counts = [tier.download.count(layout) for tier in self.tiers]
        return counts.index(max(counts))

    def download_selector(self, tier: int, version: int) -> Selector:
        """Return the selector of a version's download."""
        return self.persistent.at(version) if self.persistent else self.tiers[tier].download

    def download_size(self, layout: Layout, tier: int, version: int, held: int = 0) -> MessageSize:
        """Return the size of a version's download.

        Args:
            layout: The layout.
            tier: The client's tier.
            version: What is sent.
            held: The version of the mask that the client is known to hold, or 0.
        """
        selector = self.download_selector(tier, version)
        count = selector.count(layout)
        if selector.shared:
            return MessageSize(count, count)
        known = self.persistent.at(held).count(layout) if self.persistent else layout.entries
        return MessageSize(known, count)

    def upload_size(self, layout: Layout, tier: int, version: int) -> MessageSize:
        """Return the size of an upload that answers a version."""
        selector = self.tiers[tier].upload
        if isinstance(selector, SameMask):
            count = self.download_selector(tier, version).count(layout)
            return MessageSize(count, count)
        count = selector.count(layout)
        return MessageSize(count if selector.shared else layout.entries, count)

    def settings(self) -> dict[str, Any]:
        """Return the method as plain values, for records and fingerprints.

        Names and defaults are left out: a FLoSS run at 1 and 1 is the dense run, and shares its
        fingerprint.
        """
        own = [field for field in fields(self) if field.name not in ("name", "tiers", "persistent")]
        chosen = {field: getattr(self, field.name) for field in own}
        changed = {f.name: value for f, value in chosen.items() if value != f.default}
        if self.persistent:
            return self.persistent.settings() | changed
        if len(self.tiers) == 1:
            return self.tiers[0].settings() | changed
        return {"tiers": [{"share": t.share, **t.settings()} for t in self.tiers]} | changed

    def describe(self) -> str:
        """Return what travels, in words, such as ``down 1/4, up 1/16``."""
        words = [self._describe_tiers()]
        if (self.down_values, self.up_values) != ("fp32", "fp32"):
            words.append(f"{self.down_values} down, {self.up_values} up")
        words += ["error feedback"] if self.error_feedback else []
        words += ["mask ledger"] if self.mask_ledger else []
        words += ["mean of those covering"] if self.divisor == "covering" else []
        return ", ".join(words)

    def _describe_tiers(self) -> str:
        if self.persistent:
            return self.persistent.describe()
        if len(self.tiers) == 1:
            return _describe_tier(self.tiers[0])
        return "; ".join(
            f"{format_density(tier.share)} of clients: {_describe_tier(tier)}"
            for tier in self.tiers
        )


def _describe_tier(tier: Tier) -> str:
    if isinstance(tier.upload, SameMask):
        return f"{tier.download.describe()} both ways"
    return f"down {tier.download.describe()}, up {tier.upload.describe()}"
