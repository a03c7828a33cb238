"""Optuna search: tree-structured Parzen estimator and median pruner; needs the extra ``optuna``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.rng import stream_seed
from planner.candidates import Candidate
from planner.search.rungs import RUNGS
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy
from planner.search.strategy import Extension

_ASKS = 8  # proposals of Optuna before a random candidate is taken
_FIXED_AXES = ("rank", "down_density", "up_density")  # always axes of a trial, even with one value


@dataclass(frozen=True)
class OptunaSearch(ScriptedStrategy):
    """Optuna's sampler and pruner, one trial at a time, reported at each rung.

    The parameters of a trial are the indices of the values on each axis that varies. A trial is
    pruned if its accuracy is below the median of earlier trials at the same fraction of their own
    horizons. If Optuna proposes a candidate that was already tried or exceeds the remaining effort,
    it is asked again; after ``_ASKS`` proposals the next random candidate is taken.

    Raises:
        ConfigError: Optuna is not installed.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_library()

    @staticmethod
    def check_library() -> None:
        """Raise ConfigError unless Optuna is installed."""
        _import_optuna()

    def script(self) -> Script:
        """Run trials until no untried candidate fits into the remaining effort."""
        optuna, ledger = _import_optuna(), EffortLedger(self)
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=stream_seed(self.seed, "optuna") % 2**32),
            pruner=optuna.pruners.MedianPruner(),
        )
        fresh = self.affordable_candidates()
        while fresh := [c for c in fresh if self.horizons[c] <= ledger.rounds_left]:
            trial, candidate = self._ask(study, fresh)
            fresh.remove(candidate)
            yield from self._run(study, trial, candidate, ledger)

    def _ask(self, study: Any, fresh: Sequence[Candidate]) -> tuple[Any, Candidate]:
        """Return a new trial and its candidate, one of ``fresh``."""
        every = {
            field.name: sorted({getattr(c, field.name) for c in self.horizons})
            for field in fields(Candidate)
        }
        axes = {name: values for name, values in every.items() if name in _FIXED_AXES or values[1:]}
        same = {name: values[0] for name, values in every.items() if name not in axes}
        for _ in range(_ASKS):
            trial = study.ask()
            values = {k: v[trial.suggest_int(k, 0, len(v) - 1)] for k, v in axes.items()}
            if (candidate := Candidate(**values, **same)) in fresh:
                return trial, candidate
            study.tell(trial, state=_import_optuna().trial.TrialState.FAIL)
        fixed = {k: v.index(getattr(fresh[0], k)) for k, v in axes.items()}
        study.enqueue_trial(fixed)
        trial = study.ask()
        for name, values_ in axes.items():
            trial.suggest_int(name, 0, len(values_) - 1)
        return trial, fresh[0]

    def _run(self, study: Any, trial: Any, candidate: Candidate, ledger: EffortLedger) -> Script:
        """Train a trial from rung to rung until it is pruned, fails or finishes."""
        states = _import_optuna().trial.TrialState
        for rung in range(len(RUNGS) - 1):
            yield from ledger.ask([Extension(candidate, ledger.target(candidate, rung))])
            if ledger.curve(candidate).failed:
                study.tell(trial, state=states.FAIL)
                return
            trial.report(ledger.score(candidate), rung)
            if trial.should_prune():
                study.tell(trial, state=states.PRUNED)
                return
        yield from ledger.finish([candidate])
        if ledger.curve(candidate).failed:
            study.tell(trial, state=states.FAIL)
        else:
            study.tell(trial, ledger.score(candidate))


def _import_optuna() -> Any:
    """Return the module ``optuna``.

    Raises:
        ConfigError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "--search optuna needs Optuna, which is not installed: pip install 'floss-sim[optuna]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
