"""Runs of a plan's candidates: extended in the store as a search asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from statistics import median

from floss_sim.analysis.on_test import HitsOnTest
from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.execution.allowance import Allowance
from planner.execution.candidate_records import CandidateRecords
from planner.execution.curve_store import Job, last_evaluated_round
from planner.execution.further_seeds import FurtherSeeds
from planner.execution.real_horizons import RealHorizons
from planner.execution.trainer import Trainer
from planner.execution.workers import TICK_S
from planner.forecasts.intervals import KnownCurves
from planner.forecasts.smoothing import smoothed_accuracy
from planner.plans.cluster_section import FailedRun
from planner.plans.outcome import EFFORT, Outcome
from planner.progress import OnProgress, Progress
from planner.question.cost import Costs
from planner.question.request import FURTHER_SEEDS, Request
from planner.search.async_strategy import Step
from planner.search.strategy import Extension

Targets = dict[Candidate, int]


class CandidateRuns:
    """Trains the runs that a search asks for, and counts their rounds.

    Attributes:
        asked: Last round that the search asked for, by candidate; without baselines.
        trained: Number of rounds trained since this object was made; rounds that were already in
            the store do not count.
        runs: Folders of all runs that were asked for, baselines and other seeds included.
        trained_runs: Those of them that were trained since this object was made.
        targets: Last round of each run, by candidate; includes baselines and the rounds that
            :meth:`finish` adds to them.
        further: Runs that were repeated with further seeds.
        steps: Decisions of an asynchronous search, in the order of begin.
        step_workers: Workers for which they were made.
        records: What the runs have recorded.
        horizons: Rounds that the candidates afford, by real bytes once they are known.
    """

    def __init__(
        self,
        request: Request,
        costs: Costs,
        trainer: Trainer,
        on_progress: OnProgress,
        expected: int,
        allowance: Allowance,
        earlier: CandidateRuns | None = None,
    ) -> None:
        self.asked: dict[Candidate, int] = {}
        self.trained = 0
        self.runs: set[Path] = set()
        self.trained_runs: set[Path] = set()
        self.further = FurtherSeeds(request, trainer.store)
        self.steps: list[Step] = []
        self.step_workers = 0
        self._request = request
        self._costs = costs
        self._trainer = trainer
        self._store = trainer.store
        self._on_progress = on_progress
        self._allowance = allowance
        self._failed: set[Candidate] = set()
        self._waiting = [c for c in request.baselines().values() if c in costs.of]
        self.targets: dict[Candidate, int] = {}
        self.records = CandidateRecords(request, costs, trainer.store)
        self.horizons = RealHorizons(costs, self.records)
        self._earlier = earlier
        self._expected = expected + sum(self._last_rounds(self._waiting).values())
        if earlier:  # whose baselines are trained
            self._expected = max(earlier._expected, earlier._done_rounds() + expected)
        self._stages: int = earlier._stages if earlier else 0
        self._stage = ""
        self._best: float | None = earlier._best if earlier else None
        self._before: dict[Candidate, int] = {}  # committed rounds before the current training
        self._begun: dict[tuple[Candidate, int], Future[int | None]] = {}  # by last round
        self._beside: set[tuple[Candidate, int]] = set()  # baselines that idle workers train
        self._stopped = False

    def extend(self, proposals: Sequence[Extension]) -> History:
        """Train the proposed runs; return the curves of their candidates.

        The baselines are trained beside them, so that no worker idles.
        """
        targets = {proposal.candidate: proposal.rounds for proposal in proposals}
        for candidate, rounds in targets.items():
            self.asked[candidate] = max(rounds, self.asked.get(candidate, 0))
        baselines = self._baselines_beside(targets)
        self._stages += 1
        shares = (rounds / self.horizons.rounds(c) for c, rounds in targets.items())
        done = f"{len(targets)} run{'s' * (len(targets) != 1)} to {100 * median(shares):.0f} %"
        self._stage = f"stage {self._stages}: {done}"
        self._failed |= self._train({**targets, **baselines})
        self._waiting = [c for c in self._waiting if c not in self._failed]
        reached = {c: min(rounds, self.targets.get(c, 0)) for c, rounds in targets.items()}
        curves = {c: self.curve(c, rounds) for c, rounds in reached.items() if rounds}
        self._note_best(curves)
        return curves

    def begin(self, extension: Extension) -> None:
        """Begin to train a run without waiting for it; :meth:`answers` has its curve."""
        candidate, rounds = extension.candidate, extension.rounds
        self.asked[candidate] = max(rounds, self.asked.get(candidate, 0))
        self._beside.discard((candidate, rounds))
        self._begin(candidate, rounds)

    def answers(self) -> History:
        """Wait until some of the begun runs have ended; return their curves.

        Workers that are idle meanwhile train the baselines.
        """
        curves: dict[Candidate, Curve] = {}
        self._begin_baselines()
        while not curves:
            for candidate, rounds in self._await_some():
                self._end(candidate, rounds)
                if (candidate, rounds) not in self._beside:
                    reached = min(rounds, self.targets.get(candidate, 0))
                    curves[candidate] = self.curve(candidate, reached) if reached else Curve()
        self._note_best(curves)
        return curves

    def _begin(self, candidate: Candidate, rounds: int) -> None:
        self.targets[candidate] = max(rounds, self.targets.get(candidate, 0))
        folder = self.records.folder(candidate)
        self._before.setdefault(candidate, folder.manifest().rounds)
        self.runs.add(folder.path)
        if (candidate, rounds) not in self._begun:
            job = (self._request.config(candidate), rounds)
            self._begun[candidate, rounds] = self._begin_job(job)

    def _begin_job(self, job: Job) -> Future[int | None]:
        return self._trainer.begin(job, self._allowance.until_s)

    def _begin_baselines(self) -> None:
        """Begin whole runs of baselines on idle workers."""
        for candidate, rounds in self._last_rounds(self._waiting).items():
            free = len(self._begun) < self._trainer.workers
            if free and self.targets.get(candidate, 0) < rounds:
                self._beside.add((candidate, rounds))
                self._begin(candidate, rounds)

    def _await_some(self) -> list[tuple[Candidate, int]]:
        """Wait until some of the begun runs have ended; return them in the order of begin."""
        running = len(self._begun)
        self._stage = f"{running} run{'s' * (running != 1)} at once"
        try:
            while not (done := [key for key, future in self._begun.items() if future.done()]):
                wait(self._begun.values(), timeout=TICK_S, return_when=FIRST_COMPLETED)
                self._report()
        except KeyboardInterrupt:
            for future in self._begun.values():
                future.cancel()  # running ones end with their workers
            raise
        return done

    def _end(self, candidate: Candidate, rounds: int) -> None:
        """Count a run that has ended."""
        ran = self._begun.pop((candidate, rounds)).result()
        if all(other != candidate for other, _ in self._begun):
            del self._before[candidate]
        if ran is None:
            self._failed.add(candidate)
        elif ran:
            self.trained_runs.add(self.records.folder(candidate).path)
        self.trained += ran or 0
        self._allowance.note(ran or 0)
        if self._allowance.is_over():
            self._count_committed([candidate])

    def _baselines_beside(self, targets: Targets) -> Targets:
        """Return the last rounds of the baselines that are trained beside other runs.

        If several workers train a number of rounds, the baselines take the workers that the runs
        leave idle, in parts that depend on the rounds alone. Otherwise they are trained whole,
        beside the first runs, as in a search for a target, which they may reach.
        """
        whole = self._last_rounds(self._waiting)
        if not self._fills_idle_workers:
            self._waiting = []
            return whole
        reached = {c: self.targets.get(c, 0) for c in {**whole, **targets}}
        missing = [max(0, rounds - reached[c]) for c, rounds in targets.items()]
        longest, total = max(missing), sum(missing)
        idle = max(self._trainer.workers * longest - total, -total % self._trainer.workers)
        parts: Targets = {}
        for candidate in sorted(whole.keys() - targets.keys(), key=lambda c: (reached[c], c)):
            if more := min(whole[candidate] - reached[candidate], longest, idle):
                parts[candidate] = last_evaluated_round(reached[candidate] + more)
                idle -= parts[candidate] - reached[candidate]
        return parts

    @property
    def _fills_idle_workers(self) -> bool:
        counted = self._allowance.left_s is None
        return counted and self._trainer.workers > 1 and self._request.objective.target is None

    def finish_baselines(self) -> None:
        """Train what the baselines lack that no worker was idle for."""
        while self._begun:
            for candidate, rounds in self._await_some():
                self._end(candidate, rounds)
        baselines, self._waiting = self._last_rounds(self._waiting), []
        lacking = {c: r for c, r in baselines.items() if self.targets.get(c, 0) < r}
        if lacking:
            self._failed |= self._train(lacking)

    def _last_rounds(self, candidates: Iterable[Candidate]) -> dict[Candidate, int]:
        """Return the last round of a whole run of each candidate, by predicted costs."""
        return {c: last_evaluated_round(self._costs.of[c].horizon) for c in candidates}

    def _note_best(self, curves: History) -> None:
        going = [c for c in curves.values() if c.evaluated and not c.failed]
        seen = [smoothed_accuracy(c.evaluated, c.accuracies, c.rounds) for c in going]
        known = [] if self._best is None else [self._best]
        self._best = max([*seen, *known], default=None)

    def calibration_values(self, candidate: Candidate) -> dict[str, float]:
        """Return a candidate's ratios of real to predicted bytes, and the rounds that it affords.

        A finished run also has the relative error of these ratios in its later rounds.
        """
        finished = candidate in self.targets and self._has_finished(candidate)
        return self.horizons.values(candidate, self.targets[candidate] if finished else None)

    @property
    def asked_rounds(self) -> int:
        """Rounds that were asked for in all, with other seeds too; without baselines."""
        return sum(self.asked.values()) + self.further.rounds

    def finish(self, candidates: Iterable[Candidate], reserved: int = 0) -> None:
        """Extend finished runs with the budget that their real bytes have left over.

        Args:
            candidates: Candidates whose runs are finished.
            reserved: Rounds of the allowance to keep; rounds of baselines outside the search do
                not count.
        """
        growing = sorted(set(candidates))
        while growing and not self._allowance.is_over():
            left = self._allowance.rounds_left(self.asked_rounds) - reserved
            targets: Targets = {}
            for candidate in growing:
                rounds = self._affordable_round(candidate)
                more = rounds - self.targets[candidate]
                if candidate in self.asked and 0 < more <= left:
                    left -= more
                    targets[candidate] = rounds
                elif candidate not in self.asked and more > 0:
                    targets[candidate] = rounds
            before = {candidate: self.targets[candidate] for candidate in targets}
            diverged = self._train(targets)
            self.targets.update({c: before[c] for c in diverged})  # keep the finished part
            growing = [c for c in targets if c not in diverged]
            self.asked.update({c: self.targets[c] for c in growing if c in self.asked})

    def _affordable_round(self, candidate: Candidate) -> int:
        """Return the last affordable evaluated round, if no round costs more than the largest."""
        outcome = self.outcome(candidate)
        if outcome is None or outcome.rounds < self.targets[candidate]:
            return self.targets[candidate]  # the budget is used up
        more = int(outcome.left / outcome.most)
        return last_evaluated_round(min(outcome.rounds + more, self._request.max_rounds))

    def _train(self, targets: Targets) -> set[Candidate]:
        """Train each run up to its round, longest first; return the runs that diverged."""
        for candidate, rounds in targets.items():
            self.targets[candidate] = max(rounds, self.targets.get(candidate, 0))
        order = sorted(targets, key=lambda c: (-targets[c], c))
        jobs: list[Job] = [(self._request.config(c), targets[c]) for c in order]
        self._before = {c: self.records.committed(c) for c in order}
        trained = self._train_jobs(jobs)
        self._before = {}
        self._report()
        if self._allowance.is_over():
            self._count_committed(order)
        return {c for c, rounds in zip(order, trained, strict=True) if rounds is None}

    def _train_jobs(self, jobs: Sequence[Job]) -> list[int | None]:
        """Train runs as far as the allowance permits; return the rounds that each trained now."""
        paths = [self._store.folder(config).path for config, _ in jobs]
        self.runs.update(paths)
        trained = self._trainer.train(jobs, self._report, self._allowance.until_s)
        now = sum(rounds or 0 for rounds in trained)
        self.trained_runs |= {path for path, rounds in zip(paths, trained, strict=True) if rounds}
        self.trained += now
        self._allowance.note(now)
        return trained

    def repeat(self, candidates: Iterable[Candidate]) -> None:
        """Train finished candidates with their next seed, up to the same round as the first run.

        Runs that the allowance does not take so far are not used.

        Args:
            candidates: The candidates, each once for every seed.
        """
        self._stage = "finalists and baselines with further seeds"
        order = sorted(candidates, key=lambda c: -self.targets[c])  # longest first, stable
        jobs = self.further.ask(order, self.targets)
        self.further.note(order, jobs, self._train_jobs(jobs))

    def _all_targets(self) -> Targets:
        """Return the last round of each run, those of earlier passes included."""
        targets = dict(self.targets)
        for candidate, last in (self._earlier.targets if self._earlier else {}).items():
            targets[candidate] = max(last, targets.get(candidate, 0))
        return targets

    def _done_rounds(self) -> int:
        """Return the rounds of all runs that the store holds, those of other seeds included."""
        pairs = [(self.records.folder(c), last) for c, last in self._all_targets().items()]
        pairs += [(self._store.folder(config), last) for config, last in self.further.jobs]
        return sum(min(last, folder.manifest().rounds) for folder, last in pairs)

    def asked_jobs(self) -> list[Job]:
        """Return the runs that the search has asked for, and those with further seeds.

        Baselines outside the search are not among them.
        """
        jobs = [(self._request.config(c), last) for c, last in self.asked.items()]
        return [*jobs, *self.further.jobs]

    def _report(self) -> None:
        done = self._done_rounds()
        left_s = self._allowance.left_s
        if left_s is not None:
            self._expected = done + self._allowance.rounds_left(0)
        most, count = max(done, self._expected), len(self._all_targets())
        now = Progress(self._stage, done, most, count, self._best, left_s)
        workers, busy_share = self._trainer.workers, self._trainer.busy_share
        state = self._trainer.state
        self._on_progress(replace(now, cluster=state, workers=workers, busy_share=busy_share))

    def stop(self) -> None:
        """Count only committed rounds, because training was interrupted.

        Afterwards this object neither trains nor measures.
        """
        committed = {c: self.records.committed(c) for c in self._before}
        now = {c: committed[c] - rounds for c, rounds in self._before.items()}
        self.trained += sum(now.values())
        self.trained_runs |= {self.records.folder(c).path for c, rounds in now.items() if rounds}
        self._failed |= {c for c in self.targets if self.records.folder(c).divergence()}
        self._count_committed(list(self.targets))
        self._stopped = True

    def _count_committed(self, candidates: Iterable[Candidate]) -> None:
        """Lower the targets of runs that ended before, to the last evaluated round of each."""
        for candidate in candidates:
            committed = self.records.committed(candidate)
            if committed < self.targets[candidate]:
                del self.targets[candidate]
                if committed:
                    self.targets[candidate] = last_evaluated_round(committed)
        self.asked = {
            c: min(rounds, self.targets[c]) for c, rounds in self.asked.items() if c in self.targets
        }

    def curve(self, candidate: Candidate, rounds: int) -> Curve:
        """Return a candidate's curve up to the rounds that were asked for.

        Rounds that other searches have trained beyond them are hidden, so that the same request
        gives the same plan.
        """
        if candidate not in self._failed:
            self.horizons.note(candidate, rounds)
        return replace(
            self.records.curve(candidate, rounds),
            failed=candidate in self._failed,
            horizon=self.horizons.real(candidate),
        )

    def outcome(self, candidate: Candidate) -> Outcome | None:
        """Return a run's outcome within the budget and the rounds asked for, on the plan's network.

        A run whose accuracy fell ends at its highest smoothed accuracy. A run that was not trained
        to its horizon ends by the effort. None if the budget affords no evaluated round.
        """
        last = self.targets[candidate]
        made = self.records.outcome(candidate, last)
        if made and made.rounds == last and not self._is_at_horizon(candidate):
            return replace(made, binds=EFFORT)
        return made

    def include(self, other: CandidateRuns) -> None:
        """Add the rounds that other runs of the same request asked for and trained."""
        for theirs, ours in ((other.asked, self.asked), (other.targets, self.targets)):
            for candidate, rounds in theirs.items():
                ours[candidate] = max(rounds, ours.get(candidate, 0))
        self.trained += other.trained
        self.runs |= other.runs
        self.trained_runs |= other.trained_runs
        self._failed |= other._failed
        self._expected = max(self._expected, other._expected)
        self._stages = max(self._stages, other._stages)
        self._best = max(self._best or 0.0, other._best or 0.0) or None

    def history(self) -> History:
        """Return the curves of all runs, baselines included, up to the rounds asked for."""
        return {c: self.curve(c, rounds) for c, rounds in self.targets.items()}

    def asked_history(self) -> History:
        """Return the curves of the runs that the search asked for, up to the rounds asked for."""
        return {c: self.curve(c, rounds) for c, rounds in self.asked.items()}

    def known_curves(self, more: History | None = None) -> KnownCurves:
        """Return all curves that this search knows, other seeds included.

        Args:
            more: Curves of earlier searches of the same request.
        """
        curves = dict(more or {})
        for candidate, curve in self.history().items():
            curves[candidate] = max(curve, curves.get(candidate, curve), key=lambda c: c.rounds)
        return self._request.known_curves(curves, self.further.curves)

    def finished_candidates(self) -> list[Candidate]:
        """Return the candidates, baselines included, that reached their horizon.

        The horizon is the smaller of the predicted one, for which the effort was planned, and the
        one by real bytes.
        """
        return sorted(filter(self._has_finished, self.targets))

    def ended_candidates(self) -> list[Candidate]:
        """Return the candidates, baselines included, that the effort ended before their horizon.

        Diverged runs are left out.
        """
        return sorted(c for c in self.targets.keys() - self._failed if not self._is_at_horizon(c))

    def all_failed(self) -> bool:
        """Return whether every run that was begun has diverged."""
        return self._failed >= self.targets.keys()

    def has_failed(self, candidate: Candidate) -> bool:
        """Return whether a run failed on a cluster, although it did not diverge."""
        return self._failure(candidate, 0) is not None

    def failed_runs(self) -> list[FailedRun]:
        """Return the runs that failed on a cluster, those of further seeds included."""
        return [
            FailedRun(candidate=c, seed=self.further.with_seed(number).seed, reason=reason)
            for c in sorted(self._all_targets())
            for number in range(1 + FURTHER_SEEDS)
            if (reason := self._failure(c, number)) is not None
        ]

    def _failure(self, candidate: Candidate, number: int) -> str | None:
        state = self._trainer.state
        if state is None or not state.failures:
            return None
        return self._trainer.failure(self.further.with_seed(number).config(candidate))

    def _has_finished(self, candidate: Candidate) -> bool:
        return self._is_at_horizon(candidate) and candidate not in self._failed

    def _is_at_horizon(self, candidate: Candidate) -> bool:
        return self.targets[candidate] >= self.horizons.shorter(candidate)

    def hits_on_test(self, outcomes: Sequence[Outcome]) -> dict[Candidate, list[HitsOnTest]]:
        """Return what runs get right on the test split, measured once and cached in the store.

        The first is that of the request's seed, the next are those of further seeds.
        After :meth:`stop`, only cached results are used, and runs without one are left out.
        """
        runs = [
            (outcome.candidate, self.further.with_seed(k).config(outcome.candidate), outcome.rounds)
            for outcome in outcomes
            for k in range(1 + len(self.further.curves.get(outcome.candidate, ())))
        ]
        jobs = [(config, rounds) for _, config, rounds in runs]
        hits: Sequence[HitsOnTest | None]
        if self._stopped:
            hits = [self._store.cached_on_test(*job) for job in jobs]
        else:
            hits = self._trainer.on_test(jobs)
        found: dict[Candidate, list[HitsOnTest]] = {}
        for (candidate, _, _), made in zip(runs, hits, strict=True):
            if made is not None:
                found.setdefault(candidate, []).append(made)
        return found
