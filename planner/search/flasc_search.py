"""FLASC search: hill climbing over rank and densities, after the abstract of the FLASC paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from planner.candidates import Candidate
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy


@dataclass(frozen=True)
class FlascSearch(ScriptedStrategy):
    """Hill climbing: raise the rank or a density as long as accuracy improves.

    This is our interpretation of the abstract, not the authors' algorithm: the abstract specifies
    no order, no rungs and no stopping rule. The search starts from the lowest rank and densities.
    The current candidate is compared with the candidate of the next higher rank, then of the next
    higher download density, then of the next higher upload density. Both are trained to their own
    horizons. The first that is better becomes the current candidate. The search ends when none of
    them is better or the effort cannot finish another run.
    """

    def script(self) -> Script:
        """Climb from the candidate with the lowest rank and densities."""
        ledger = EffortLedger(self)
        standing, rises = min(self.affordable_candidates()), True
        yield from ledger.finish([standing])
        while rises:
            rises = False
            for raised in self._raised_candidates(standing):
                yield from ledger.finish([raised])
                done = raised in self.finished_candidates(ledger.curves)
                if done and self._key(ledger, raised) < self._key(ledger, standing):
                    standing, rises = raised, True
                    break

    def _key(self, ledger: EffortLedger, candidate: Candidate) -> tuple[float, float, Candidate]:
        return self.sort_key(candidate, ledger.score(candidate))

    def _raised_candidates(self, standing: Candidate) -> Iterator[Candidate]:
        """Yield the candidates of the next higher rank, download density and upload density."""
        for knob in ("rank", "down_density", "up_density"):
            value = getattr(standing, knob)
            above = sorted({getattr(c, knob) for c in self.horizons if getattr(c, knob) > value})
            raised = (replace(standing, **{knob: higher}) for higher in above)
            yield from (c for c in list(raised)[:1] if c in self.horizons)
