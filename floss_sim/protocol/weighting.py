"""Aggregation weights of updates, by local examples and by staleness."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.protocol.messages import Upload


def weights(uploads: Sequence[Upload], law: str) -> list[float]:
    """Return the weight of each upload; the weights sum to 1.

    Args:
        uploads: Uploads of a round that are aggregated.
        law: ``"uniform"``: equal weights, as in FLoSS; ``"examples"``: proportional to the local
            examples (McMahan et al. 2017).
    """
    shares = [1 if law == "uniform" else upload.examples for upload in uploads]
    total = sum(shares)
    return [share / total for share in shares]


def staleness_weight(staleness: int) -> float:
    """Return the weight factor of a stale update: ``1 / sqrt(1 + staleness)``.

    This is the polynomial law of FedBuff (Nguyen et al. 2022, section 5).

    Args:
        staleness: Number of versions between the update's download and its aggregation.
    """
    return float((1 + staleness) ** -0.5)
