"""Round policies: when a round closes, and what late clients do.

A client *reports* when its upload has arrived at the server. A client is *late* if it has not
reported when its round closes. A client is *lost* if it dropped out or went offline: it will never
report.
"""

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
    """Rule that decides when a round closes.

    It closes after enough reports, at a deadline, or when every client has reported or is lost.

    Attributes:
        name: Name of the policy.
        reports: Number of reports after which a round closes; lost clients are replaced. None: the
            round closes when every client of the cohort has reported or is lost.
        deadline_s: Seconds from the start of a round to its deadline. The round closes then if
            ``minimum`` clients have reported. Infinity: no deadline.
        minimum: Smallest number of reports with which a round closes at its deadline. With fewer
            the round stays open until this number is reached, and lost clients are replaced.
        late: What late clients do. ``"cancel"``: they stop at once and can be selected again.
            ``"finish"``: they continue until their upload is finished, use link capacity until
            then and cannot be selected; their updates are thrown away. ``"kept"``: they continue in
            the same way, and each update counts in the round that is open when it arrives.

    Reports that arrive at the same instant are ordered by the numbers of their dispatches.
    """

    name: str
    reports: int | None = None
    deadline_s: float = math.inf
    minimum: int = 1
    late: LateAction = "cancel"

    def closes(self, reports: int, running: int, expired: bool) -> bool:
        """Return whether a round closes now.

        Args:
            reports: Number of clients that have reported.
            running: Number of clients at work that may still report.
            expired: Whether the deadline is over.
        """
        if self.reports is not None and reports >= self.reports:
            return True
        if self.reports is None and reports >= self.minimum:
            return expired or not running
        return False

    @property
    def shapes_training(self) -> bool:
        """Whether time affects which updates are aggregated, or from which version they start."""
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
            ConfigError: ``reports`` or ``minimum`` is below 1 or above the cohort's size.
        """
        for what, count in (("reports", self.reports), ("minimum", self.minimum)):
            if count is not None and not 1 <= count <= cohort:
                raise ConfigError(
                    f"policy {self.name}: {what} {count} is invalid; valid: 1 to {cohort}, the "
                    "size of the cohort"
                )
        return self


def wait_all() -> RoundPolicy:
    """Return the policy of rounds that wait for every client that is not lost.

    Arrival times then never affect training: uploads are aggregated in the cohort's order.

    Example:
        >>> from floss_sim import wait_all
        >>> wait_all().shapes_training
        False
    """
    return RoundPolicy("wait-all")


def first_k(k: int, late: LateAction = "cancel") -> RoundPolicy:
    """Return the over-selection policy: only the first ``k`` reports of a cohort are aggregated.

    Example:
        >>> from floss_sim import first_k
        >>> first_k(3, late="finish").reports
        3
    """
    return RoundPolicy("first-k", reports=k, late=late)


def deadline(seconds: float, minimum: int = 1, late: LateAction = "cancel") -> RoundPolicy:
    """Return the policy of rounds with a deadline, extended until ``minimum`` clients reported.

    A round closes earlier if all its clients have reported or are lost.

    Example:
        >>> from floss_sim import deadline
        >>> deadline(2.0, minimum=3).deadline_s
        2.0
    """
    return RoundPolicy("deadline", deadline_s=seconds, minimum=minimum, late=late)


def buffered(k: int) -> RoundPolicy:
    """Return the policy of buffered asynchronous aggregation (FedBuff, Nguyen et al. 2022).

    A cohort of clients is always at work: a client that reports is replaced. Every ``k`` reports
    make a new version. An update that started ``s`` versions ago has weight ``1 / sqrt(1 + s)``.

    Example:
        >>> from floss_sim import buffered
        >>> buffered(3).late
        'kept'
    """
    return RoundPolicy("buffered", reports=k, late="kept")


_GRAMMAR = "wait-all, first-k:K, deadline:SECONDS[:MINIMUM] such as deadline:30s:3, or buffered:K"


def parse_policy(text: str, late: str | None = None) -> RoundPolicy:
    """Return the policy of a text such as ``"deadline:30s:3"``.

    Args:
        text: Policy as text: ``wait-all``, ``first-k:K``, ``deadline:SECONDS[:MINIMUM]`` or
            ``buffered:K``.
        late: Action of late clients, ``"cancel"`` or ``"finish"``, valid only with ``first-k``
            and ``deadline``; None for the policy's default.

    Raises:
        ConfigError: Invalid text, or an invalid ``late`` for the policy.
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
