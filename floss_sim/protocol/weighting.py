"""Weights of aggregated updates, by examples and by staleness."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.protocol.messages import Upload


def weights(uploads: Sequence[Upload], law: str) -> list[float]:
    """Return the weight of each upload of a round, adding up to 1.

    Args:
        uploads: What is aggregated.
        law: ``"uniform"`` (as FLoSS), or ``"examples"`` (McMahan et al. 2017): by local examples.
    """
    shares = [1 if law == "uniform" else upload.examples for upload in uploads]
    total = sum(shares)
    return [share / total for share in shares]


def staleness_weight(staleness: int) -> float:
    """Return the factor of an update that started so many versions ago.

    ``1 / sqrt(1 + staleness)``, the polynomial law of FedBuff (Nguyen et al. 2022, section 5).
    """
    return float((1 + staleness) ** -0.5)
