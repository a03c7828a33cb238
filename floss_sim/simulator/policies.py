"""When a round closes, and what becomes of the clients that have not reported by then."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from floss_sim.errors import ConfigError, UnitError
from floss_sim.units import parse_duration

LateAction = Literal["cancel", "finish", "kept"]


@dataclass(frozen=True)
class RoundPolicy:
    """When a round closes: with enough reports, at a deadline, or when nobody is left.

    Attributes:
        name: What it is called.
        reports: A round closes with so many reports, clients that are lost being replaced; None:
            with those of all its clients that are not lost.
        deadline_s: Seconds after which it closes, if ``minimum`` clients have reported.
        minimum: Reports without which a deadline waits on; clients that are lost are replaced.
        late: What becomes of the other clients. ``"cancel"``: they stop at once and are free.
            ``"finish"``: they go on, contend for the links and are busy until they have finished;
            their updates are thrown away. ``"kept"``: they go on, and count in a later round.

    Reports of one instant are ordered by the number of their dispatch.
    """

    name: str
    reports: int | None = None
    deadline_s: float = math.inf
    minimum: int = 1
    late: LateAction = "cancel"

    def closes(self, reports: int, running: int, expired: bool) -> bool:
        """Return whether a round with so many reports and clients still running closes now."""
        if self.reports is not None and reports >= self.reports:
            return True
        if self.reports is None and reports >= self.minimum:
            return expired or not running
        return False

    @property
    def shapes_training(self) -> bool:
        """Whether time decides which updates are aggregated, or what they start from."""
        return self.name != "wait-all"

    def settings(self) -> dict[str, Any]:
        """Return the policy as plain values, for fingerprints."""
        if not self.shapes_training:
            return {"policy": self.name}
        deadline_s = None if math.isinf(self.deadline_s) else self.deadline_s
        return {"policy": {**vars(self), "deadline_s": deadline_s}}

    def checked(self, cohort: int) -> RoundPolicy:
        """Return the policy itself.

        Raises:
            ConfigError: It asks for more reports than the cohort has clients, or for none.
        """
        for what, count in (("reports", self.reports), ("minimum", self.minimum)):
            if count is not None and not 1 <= count <= cohort:
                raise ConfigError(
                    f"policy {self.name}: {what} {count} is outside 1 to the cohort's {cohort}"
                )
        return self


def wait_all() -> RoundPolicy:
    """Return the policy of rounds that close when every client of the cohort has reported.

    Time then never changes what is learned: uploads are aggregated in the cohort's order,
    whatever the order in which they arrive.
    """
    return RoundPolicy("wait-all")


def first_k(k: int, late: LateAction = "cancel") -> RoundPolicy:
    """Return over-selection: of the cohort, the first ``k`` reports are aggregated."""
    return RoundPolicy("first-k", reports=k, late=late)


def deadline(seconds: float, minimum: int = 1, late: LateAction = "cancel") -> RoundPolicy:
    """Return rounds of at most so many seconds, or longer until ``minimum`` have reported."""
    return RoundPolicy("deadline", deadline_s=seconds, minimum=minimum, late=late)


def buffered(k: int) -> RoundPolicy:
    """Return buffered asynchronous aggregation (FedBuff, Nguyen et al. 2022).

    A cohort of clients is always at work; whoever reports is replaced; every ``k`` reports are a
    version. An update that started ``s`` versions ago weighs ``1 / sqrt(1 + s)``.
    """
    return RoundPolicy("buffered", reports=k, late="kept")


_GRAMMAR = "wait-all, first-k:K, deadline:SECONDS[:MINIMUM] such as deadline:30s:3, or buffered:K"


def parse_policy(text: str, late: str | None = None) -> RoundPolicy:
    """Return the policy of a text such as ``"deadline:30s:3"``.

    Args:
        text: The policy.
        late: ``"cancel"`` or ``"finish"``, where there are late clients.

    Raises:
        ConfigError: The text follows no rule of the grammar.
    """
    name, *parts = text.split(":")
    try:
        policy = _BY_NAME[name](*parts)
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"cannot read policy {text!r}; valid: {_GRAMMAR}") from None
    except UnitError as error:
        raise ConfigError(f"policy {text!r}: {error}") from None
    if late is None:
        return policy
    if policy.name in ("first-k", "deadline"):
        if late == "cancel":
            return replace(policy, late="cancel")
        if late == "finish":
            return replace(policy, late="finish")
    raise ConfigError(
        f"late {late!r} with policy {policy.name}; valid: cancel or finish, with first-k or "
        "deadline"
    )


def _parse_deadline(seconds: str, minimum: str = "1") -> RoundPolicy:
    length_s = parse_duration(seconds)
    if length_s <= 0:
        raise UnitError(f"deadline {seconds!r} must be above zero")
    return deadline(length_s, int(minimum))


_BY_NAME: Mapping[str, Callable[..., RoundPolicy]] = {
    "wait-all": wait_all,
    "first-k": lambda k: first_k(int(k)),
    "deadline": _parse_deadline,
    "buffered": lambda k: buffered(int(k)),
}
