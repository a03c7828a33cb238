"""Data model of a method: the entries that exist, are downloaded, trained and uploaded.

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
fed-sb          R of B R A, head    as floss                 all              as floss
ravan           blocks of R, head   as floss                 and factors      as floss
fedkseed        scalars of K seeds  all                      some each round  what it trained
rolora          LoRA A, B, head     as floss                 B or A, head     of these, as floss
fslora          LoRA A, B, head     random ranks             those ranks      those ranks
lora-a2         LoRA A, B, head     as floss                 B or A, head     ranks of these
fedsrd          LoRA A, B, head     all                      all              by effect on B A
ecolora         LoRA A, B, head     as floss                 all              one segment, as floss
fedsa-lora      LoRA A, B, head     A, head, as floss        all, B private   A, head, as floss
feddpa          two LoRAs, head     one, head, as floss      both             one, head, as floss
freezing        LoRA A, B, head     all                      unfrozen layers  these
flexlora        LoRA A, B, head     leading ranks, by tier   those ranks      those ranks
lora-fair       LoRA A, B, head     as floss                 all              as floss
fedsvd          LoRA A, B, head     as floss                 B, head          of these, as floss
flora           LoRA A, B, head     head, stacks of A, B     all, A, B anew   all
fedex-lora      LoRA A, B, head     all, residuals of B A    all              all
bitfit          biases, head        as floss                 all              as floss
full            everything          as floss                 all              as floss
head            head                as floss                 all              as floss
==============  ==================  =======================  ===============  ================

P is the server's vector. D is a client's update: the decoded vector minus the vector after local
training. Sources: FLoSS, Raje, CMU thesis 2024, chapter 4 (published as
FLASC, whose tiers are here too); SparseAdapter, He et al. 2022; AdapterLTH, Wu and Chen 2022;
HetLoRA, Cho et al. 2024; FFA-LoRA, Sun et al. 2024; BitFit, Ben Zaken et al. 2022; RoLoRA, Chen
et al. 2025; FSLoRA, Fang et al. 2025; LoRA-A2, Koo et al. 2025; FedSRD, Yan et al.
2025; EcoLoRA, Liu et al. 2025; FedSA-LoRA, Guo et al. 2025; FedDPA, Yang et al. 2024; Fed-SB,
Singhal et al. 2025; Ravan, Raje et al. 2025; FedKSeed, Qin et al. 2024; FlexLoRA, Bai et al. 2024;
LoRA-FAIR, Bian et al. 2025; FedSVD, Lee et al. 2025; FLoRA, Wang et al. 2024; FedEx-LoRA, Singhal
et al. 2025.

Clients are assigned to tiers in the order of their numbers, as to the classes of a network profile.
A tier can therefore coincide with a class of links.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

from floss_sim.errors import ConfigError, LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.experts import holds_all_experts
from floss_sim.methods.backbone_changes import BackboneChange
from floss_sim.methods.differential_privacy import DifferentialPrivacy, check_privacy
from floss_sim.methods.persistent_masks import PersistentMask
from floss_sim.methods.private_entries import PrivatePart, PrivateRanks
from floss_sim.methods.product_steps import ProductStep, RefactoringStep
from floss_sim.methods.rank_selectors import Ranks
from floss_sim.methods.schedules import Moment, selector_at
from floss_sim.methods.selectors import SameMask, Selector, addressable_entries
from floss_sim.methods.tier import Tier
from floss_sim.methods.zeroth_order import ZerothOrder
from floss_sim.vectors.density import format_density
from floss_sim.vectors.layout import ADAPTER_LAYOUTS, MERGED, SEEDS, SQUARE_LAYOUTS, Layout
from floss_sim.wire import VALUE_CODES, predict_nbytes

Divisor = Literal["cohort", "covering"]
DIVISORS: tuple[Divisor, ...] = ("cohort", "covering")
Ranking = Literal["magnitude", "product"]


@dataclass(frozen=True)
class MessageSize:
    """Size of a message in entries: ``count`` sent entries of ``universe`` addressable ones."""

    universe: int
    count: int

    def nbytes(self, values: str) -> int:
        """Return the predicted bytes under a value code."""
        return predict_nbytes(self.universe, self.count, values)


@dataclass(frozen=True)
class Method:
    """A federated fine-tuning method.

    Attributes:
        name: Name of the method.
        tiers: Tiers of the fleet; their shares add up to 1.
        trains: Layout of the entries, one of ``layout.LAYOUTS`` or ``seeds``.
        heads: Number of diagonal blocks of R in layout ``heads``.
        persistent: Persistent mask, which all clients share and downloads use; None if there is
            none.
        down_values: Value code of downloads.
        up_values: Value code of uploads.
        error_feedback: Whether clients accumulate unsent entries and add them to the next update.
        mask_ledger: Whether the server remembers the mask that each client holds. The next mask is
            then coded within that mask (a persistent mask) or with different densities inside and
            outside it. Clients and server must keep state, so this suits only fleets of known
            devices.
        change_ledger: Whether the server remembers the version that each client holds, so that
            downloads carry only what has changed since. Clients keep what they decoded.
        divisor: Clients over which the update of an entry is averaged: ``"cohort"`` (all of the
            cohort) or ``"covering"`` (those whose mask has the entry).
        ranking: Rank of an entry in uploads: ``"magnitude"`` of its update, or how much it changes
            the ``"product"`` B A (:mod:`floss_sim.methods.partner_norms`).
        product_step: Server step on products (:mod:`floss_sim.methods.product_steps`); None: the
            mean update.
        backbone_change: Server step that changes the frozen weights, in layout ``merged``, where
            the server remembers the version that each client holds; None: they never change.
        zeroth_order: Local training along seeded directions, in layout ``seeds``, whose sums the
            server averages; None: SGD.
        private: Part of the entries that never travels and that each client keeps as its own; None
            if there is none.
        privacy: Clipping and noise of the clients' updates; None: none.

    Raises:
        ConfigError: Shares that are not positive or do not add up to 1, an unknown value code or
            divisor, or options that exclude each other.
    """

    name: str
    tiers: tuple[Tier, ...]
    trains: str = "lora"
    heads: int = 1
    persistent: PersistentMask | None = None
    down_values: str = "fp32"
    up_values: str = "fp32"
    error_feedback: bool = False
    mask_ledger: bool = False
    change_ledger: bool = False
    divisor: Divisor = "cohort"
    ranking: Ranking = "magnitude"
    product_step: ProductStep | None = None
    backbone_change: BackboneChange | None = None
    zeroth_order: ZerothOrder | None = None
    private: PrivatePart | None = None
    privacy: DifferentialPrivacy | None = None

    def __post_init__(self) -> None:
        total = sum(tier.share for tier in self.tiers)
        if not math.isclose(total, 1, abs_tol=1e-6) or min(t.share for t in self.tiers) <= 0:
            raise ConfigError(f"the shares of the tiers add up to {total:g}; valid: above 0, sum 1")
        if len({isinstance(tier.upload, SameMask) for tier in self.tiers}) > 1:
            raise ConfigError(f"some tiers of method {self.name!r} train a mask and some do not")
        for code in (self.down_values, self.up_values):
            if code not in VALUE_CODES:
                raise ConfigError(f"unknown value code {code!r}; valid: {', '.join(VALUE_CODES)}")
        if (self.trains == SEEDS) != (self.zeroth_order is not None):
            raise ConfigError(f"layout {SEEDS!r} and zeroth-order training need each other")
        if type(self.heads) is not int or self.heads < 1:
            raise ConfigError(f"heads {self.heads!r}; valid: whole numbers from 1")
        if self.mask_ledger and self.persistent is None and self._shares_all_masks:
            raise ConfigError(
                f"a mask ledger needs downloads whose mask is sent; in method {self.name!r} "
                "both ends build the mask"
            )
        if len(self.tiers) > 1 and self.downloads_by_dispatch:
            raise ConfigError(f"the random ranks of method {self.name!r} are of one tier")
        self._check_change_ledger()
        if self.error_feedback and isinstance(self.product_step, RefactoringStep):
            raise ConfigError(
                f"the server of method {self.name!r} changes the basis of B: error feedback would "
                "add entries of an earlier basis; valid: no error feedback"
            )
        self._check_backbone_change()
        if self.divisor not in DIVISORS:
            raise ConfigError(f"unknown divisor {self.divisor!r}; valid: {', '.join(DIVISORS)}")
        if self.divisor == "covering" and not (self.is_masked or self.is_scheduled):
            raise ConfigError(
                "divisor 'covering' needs clients that train a mask; "
                f"those of method {self.name!r} train all entries"
            )
        if self.privacy:
            check_privacy(
                self.privacy, self.name, self.tiers, self.up_values, self.divisor,
                takes_products=not self._mean_is_enough,
            )  # fmt: skip

    @property
    def _mean_is_enough(self) -> bool:
        """Whether the server step needs the mean update alone, if no update is stale.

        FedSVD's server turns an update whose client started from another A than the server's. A
        change of the backbone is made of the clients' own products.
        """
        if self.backbone_change is not None:
            return False
        if self.product_step is None:
            return True
        if not self.product_step.takes_mean:
            return False
        whole = all(tier.download.density == 1 for tier in self.tiers)
        return whole and VALUE_CODES[self.down_values].is_lossless

    def _check_change_ledger(self) -> None:
        """Raise ConfigError if a change ledger would be of no use, or its downloads are masked."""
        step = self.product_step
        leaves = self.trains_by_schedule if step is None else step.leaves_entries
        whole = all(tier.download.density == 1 for tier in self.tiers) and not self.mask_ledger
        if self.change_ledger and not (leaves and whole):
            raise ConfigError(
                "a change ledger needs downloads of density 1, without a mask ledger, and a server "
                f"step that leaves entries as they are; method {self.name!r} lacks one of these"
            )

    def _check_backbone_change(self) -> None:
        """Raise ConfigError if a change of the backbone does not fit the other options."""
        change = self.backbone_change
        if change is None:
            return
        if self.trains != MERGED:
            raise ConfigError(f"a change of the backbone needs layout {MERGED!r}")
        if self.mask_ledger or self.change_ledger:
            raise ConfigError(
                f"method {self.name!r} already has a ledger of the backbone's changes; "
                "valid: no other ledger"
            )
        if self.error_feedback and change.restarts:
            raise ConfigError(
                f"method {self.name!r} starts from new adapters, which have no use for what older "
                "ones did not send; valid: no error feedback"
            )

    @property
    def has_ledger(self) -> bool:
        """Whether the server remembers the version that each client holds."""
        return self.mask_ledger or self.change_ledger or self.backbone_change is not None

    @property
    def downloads_changes(self) -> bool:
        """Whether the size of a download depends on the version that the client holds."""
        return self.change_ledger or self.backbone_change is not None

    @property
    def server_averages(self) -> bool:
        """Whether the server adds the mean update as it is, without its optimiser."""
        return self.zeroth_order is not None

    @property
    def saved_as(self) -> str:
        """What a trained model is saved as: ``adapter``, or whole as ``model``; a folder's name."""
        is_adapter = self.trains in ADAPTER_LAYOUTS and self.trains != MERGED
        return "adapter" if is_adapter else "model"

    def check_layout(self, layout: Layout) -> None:
        """Raise LayoutError if a layout is too small for a tier's messages or the server's step.

        Or if its adapters of experts have no ranks of their own, which the method needs.
        """
        self._check_experts(layout)
        for tier in range(len(self.tiers)):
            self.download_selector(tier, 0).count(layout)
            upload = self.upload_selector(tier, Moment(0))
            if not isinstance(upload, SameMask):
                upload.count(layout)
        if self.backbone_change:
            self.backbone_change.check_layout(layout)

    def _check_experts(self, layout: Layout) -> None:
        """Raise LayoutError if an adapter of experts has no ranks, and the method works on them."""
        modules = (tensor.name.rpartition(".")[0] for tensor in layout.tensors)
        stack = next(filter(holds_all_experts, modules), "").removesuffix(".base_layer")
        if stack and self._pairs_ranks:
            raise LayoutError(
                f"method {self.name!r} works on ranks or products B A, which the adapter of all "
                f"experts in {stack!r} does not have; valid: other targets, or a method such as "
                "dense, floss or ffa"
            )

    @property
    def _pairs_ranks(self) -> bool:
        """Whether a row of A belongs to a column of B: the method has ranks, or products B A."""
        return (
            self.trains in (*SQUARE_LAYOUTS, MERGED)
            or self.ranking == "product"
            or self.product_step is not None
            or isinstance(self.private, PrivateRanks)
            or any(isinstance(tier.download, Ranks) for tier in self.tiers)
        )

    @property
    def is_masked(self) -> bool:
        """Whether clients train and upload only the entries that they downloaded."""
        return self.persistent is not None or isinstance(self.tiers[0].upload, SameMask)

    def carries_mask(self, layout: Layout, tier: int, version: int) -> bool:
        """Return whether a download itself carries the mask of the entries that train.

        Its exact zeros are then sent, too.
        """
        selector = self.download_selector(tier, version)
        everything = selector.count(layout) == layout.entries
        trains_mask = self.is_masked and self.tiers[tier].trained is None
        return trains_mask and not (selector.shared or everything)

    @property
    def _shares_all_masks(self) -> bool:
        return all(self.download_selector(tier, 0).shared for tier in range(len(self.tiers)))

    def ledger_nbytes(self, layout: Layout, clients: int, rounds: int) -> int:
        """Return the maximum bytes of the server's ledger after a number of rounds."""
        ledger = 4 * clients
        if self.persistent or self.downloads_changes:
            return ledger + 4 * layout.entries
        return ledger + min(clients, len(self.tiers) * rounds) * -(-layout.entries // 8)

    def tier_of(self, client: int, fleet: int) -> int:
        """Return the tier of a client: the first whose cumulative share reaches (i + 1/2) / n.

        Args:
            client: Number of the client, i.
            fleet: Number of clients in the fleet, n.
        """
        if len(self.tiers) == 1:
            return 0
        return min(bisect_left(self._ends, (client + 0.5) / fleet), len(self.tiers) - 1)

    @cached_property
    def _ends(self) -> tuple[float, ...]:
        """Cumulative shares of the tiers."""
        return tuple(accumulate(tier.share for tier in self.tiers))

    def widest_tier(self, layout: Layout) -> int:
        """Return the tier that downloads the most entries; its download is the evaluated model."""
        tiers = range(len(self.tiers))
        counts = [self.download_selector(tier, 0).count(layout) for tier in tiers]
        return counts.index(max(counts))

    def download_selector(self, tier: int, version: int) -> Selector:
        """Return the selector of the download of a version by a tier."""
        if self.persistent:
            return self.persistent.at(version)
        return selector_at(self.tiers[tier].download, Moment(version))

    def upload_selector(self, tier: int, moment: Moment) -> Selector | SameMask:
        """Return the selector of the upload of a tier after training from a version."""
        selector = self.tiers[tier].upload
        return selector if isinstance(selector, SameMask) else selector_at(selector, moment)

    def trained_selector(self, tier: int, version: int) -> Selector | None:
        """Return the selector of the entries that a tier trains; None if no schedule says so."""
        schedule = self.tiers[tier].trained
        return None if schedule is None else schedule.at(Moment(version))

    @property
    def downloads_by_dispatch(self) -> bool:
        """Whether each dispatch downloads a mask of its own; the model is then all of P."""
        return any(tier.downloads_by_dispatch for tier in self.tiers)

    def training_scale(self, layout: Layout) -> float:
        """Return the factor of LoRA's scale while a client trains (FSLoRA: rank / kept ranks)."""
        return self.tiers[0].training_scale(layout)

    def adapters(self, settings: AdapterSettings) -> AdapterSettings:
        """Return the settings of all adapters of a model, private ones included.

        Args:
            settings: Those of the shared adapters.
        """
        return self.private.adapters(settings) if self.private else settings

    @property
    def local_passes(self) -> int:
        """Passes of a client over its examples in a local epoch: 2 where adapters take turns."""
        return 2 if self.private and self.private.in_turns else 1

    @property
    def trains_by_schedule(self) -> bool:
        """Whether a schedule says which entries train."""
        return any(tier.trained is not None for tier in self.tiers)

    @property
    def is_scheduled(self) -> bool:
        """Whether messages change with the version, apart from a persistent mask."""
        return any(tier.is_scheduled for tier in self.tiers)

    def download_size(self, layout: Layout, tier: int, version: int, held: int = 0) -> MessageSize:
        """Return the size of the download of a version.

        Args:
            layout: Layout of the N entries.
            tier: Tier of the client.
            version: Version of the global adapter.
            held: Version of the persistent mask that the client is known to hold, or 0.
        """
        selector = self.download_selector(tier, version)
        count = selector.count(layout)
        if selector.shared:
            return MessageSize(count, count)
        if self.persistent:
            return MessageSize(self.persistent.at(held).count(layout), count)
        return MessageSize(addressable_entries(selector, layout), count)

    def upload_size(self, layout: Layout, tier: int, version: int) -> MessageSize:
        """Return the size of an upload after training from a version.

        Args:
            layout: Layout of the N entries.
            tier: Tier of the client.
            version: Version that the client downloaded.
        """
        selector = self.upload_selector(tier, Moment(version))
        if isinstance(selector, SameMask):
            selector = self.trained_selector(tier, version) or self.download_selector(tier, version)
            count = selector.count(layout)
            return MessageSize(count, count)
        return MessageSize(addressable_entries(selector, layout), selector.count(layout))

    def settings(self) -> dict[str, Any]:
        """Return the method as plain values, for records and fingerprints.

        Names and defaults are left out. Thus FLoSS at densities 1 and 1 has the fingerprint of the
        dense method, which is the same run.
        """
        parts = (
            "name", "tiers", "persistent", "product_step", "backbone_change", "zeroth_order",
            "private", "privacy",
        )  # fmt: skip
        chosen = {f: getattr(self, f.name) for f in fields(self) if f.name not in parts}
        changed = {f.name: value for f, value in chosen.items() if value != f.default}
        if self.product_step:
            changed["product_step"] = self.product_step.settings()
        if self.backbone_change:
            changed["backbone_change"] = self.backbone_change.settings()
        if self.zeroth_order:
            changed["zeroth_order"] = self.zeroth_order.settings()
        if self.private:
            changed["private"] = self.private.settings()
        if self.privacy:
            changed["privacy"] = self.privacy.settings()
        if self.persistent:
            return self.persistent.settings() | changed
        if len(self.tiers) == 1:
            return self.tiers[0].settings() | changed
        return {"tiers": [{"share": t.share, **t.settings()} for t in self.tiers]} | changed

    def describe(self) -> str:
        """Return a description of the messages, such as ``down 1/4, up 1/16``."""
        words = [f"{self.heads} heads"] if self.heads > 1 else []
        if self.zeroth_order:
            words += [self.zeroth_order.describe()]
        else:
            words += [self._describe_tiers()]
        if (self.down_values, self.up_values) != ("fp32", "fp32"):
            words.append(f"{self.down_values} down, {self.up_values} up")
        words += ["error feedback"] if self.error_feedback else []
        words += ["mask ledger"] if self.mask_ledger else []
        words += ["change ledger"] if self.change_ledger else []
        words += ["mean of those covering"] if self.divisor == "covering" else []
        words += [self.product_step.describe()] if self.product_step else []
        words += [text] if self.private and (text := self.private.describe()) else []
        words += [self.privacy.describe()] if self.privacy else []
        words += [self.backbone_change.describe()] if self.backbone_change else []
        return ", ".join(words)

    def _describe_tiers(self) -> str:
        if self.persistent:
            return self.persistent.describe()
        if len(self.tiers) == 1:
            return self.tiers[0].describe()
        return "; ".join(
            f"{format_density(tier.share)} of clients: {tier.describe()}" for tier in self.tiers
        )
