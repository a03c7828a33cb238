"""Optuna's tree-structured Parzen estimator with its median pruner; needs the extra ``optuna``."""

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

_ASKS = 8
_FIXED_AXES = ("rank", "down_density", "up_density")  # axes even of one value


@dataclass(frozen=True)
class OptunaSearch(ScriptedStrategy):
    """One trial after the other over the indices of what varies, reported at each rung.

    A trial is pruned where its accuracy lies below the median of earlier ones at the same fraction
    of their own horizons. Asked for what was tried or does not fit what is left of the effort, it
    is asked again; after some times the next random candidate is taken.

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
        """Run trials until no candidate fits."""
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
        """Return a trial and its candidate among the fresh ones."""
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
        """Take a trial from rung to rung until it is pruned, fails or is finished."""
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
    """Return the module.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "--search optuna needs Optuna, which is not installed: pip install 'floss-sim[optuna]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
