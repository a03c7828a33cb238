"""Jobs and answers: the heads of the parcels that go to a worker and come back.

A job is a value: configuration, first and last round, and the checkpoint between. It can be sent to
any worker, lost, sent again, and answered twice.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from floss_sim.documents import OneLine, Section
from floss_sim.training.machine_type import MachineType
from planner.cluster.config_document import ConfigDocument

Kind = Literal["check", "load", "measure", "train", "test"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|mps)$")]
Mark = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Reason = Annotated[OneLine, Field(max_length=4000)]
MOST_RUNS = 1000  # of a job


class PartHead(Section):
    """What a parcel says of a part of a run; its blobs hold the rest.

    Attributes:
        after: Last round before the part.
        rounds: Last round of the part.
        timing: Timing fingerprint (hex) of the tables.
        network: Name of the network profile.
        version: Version of the global adapter after the part.
    """

    after: Count
    rounds: Count
    timing: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
    network: OneLine
    version: Count


class JobRun(Section):
    """A run of a job.

    Attributes:
        run: Trajectory fingerprint.
        trajectory: Ingredients of the fingerprint; a worker compares them with its own.
        config: The configuration.
        rounds: Round to reach; for ``test`` the length whose last models are tested.
        part: The committed rounds, with their checkpoint; None for a new run.
        machine: Machine type on which the run must continue; None: any.
        models: Rounds whose models are tested; their blobs hold the models.
    """

    run: Mark
    trajectory: dict[str, Any]
    config: ConfigDocument
    rounds: Count
    part: PartHead | None = None
    machine: MachineType | None = None
    models: tuple[Count, ...] = ()


class Job(Section):
    """Head of a parcel to a worker.

    Attributes:
        kind: ``check`` (versions and device), ``load`` (libraries, backbone and data), ``measure``
            (a step), ``train`` (runs side by side), or ``test`` (models on the test split).
        versions: Versions that a worker must have, by package.
        device: Device that trains.
        data: Mark of the data; None for ``check``.
        backbone: Mark of the backbone; None for ``check``.
        seconds: Seconds after which no further round is begun; None: no limit.
        diagnose: Whether evaluations also measure the server's dense P.
        own: Whether they measure the clients' own models, those with private entries on test, too.
        runs: The runs.
    """

    kind: Kind
    versions: dict[OneLine, OneLine]
    device: Device
    data: Mark | None = None
    backbone: Mark | None = None
    seconds: Seconds | None = None
    diagnose: bool = False
    own: bool = False
    runs: Annotated[tuple[JobRun, ...], Field(max_length=MOST_RUNS)] = ()


class HostNote(Section):
    """A line of a run's host notes, as a worker sends it."""

    after: Count | None = None
    round: Count | None = None
    host_s: Seconds | None = None
    peak_memory_kb: Count | None = None
    device_peak_kb: Count | None = None
    doubtful_from: Count | None = None
    why: Reason | None = None
    machine: MachineType | None = None


class AnsweredRun(Section):
    """What became of a run of a job.

    Attributes:
        run: Trajectory fingerprint.
        part: The new rounds; None if none was trained.
        diverged: Reason why training diverged; empty if it did not.
        other_machine: Whether the worker is of another machine type than the run must have.
        notes: New host notes.
        on_test: Results of the tested models, in their order.
        own_on_test: What own models with private entries get right on test, by round of the part,
            as of :func:`floss_sim.records.on_test.pack_own`.
    """

    run: Mark
    part: PartHead | None = None
    diverged: Reason = ""
    other_machine: bool = False
    notes: tuple[HostNote, ...] = ()
    on_test: tuple[dict[str, float | str], ...] = ()
    own_on_test: dict[Count, str] = Field(default_factory=dict)


class Answer(Section):
    """Head of a parcel from a worker.

    Attributes:
        status: ``done``; ``lacks``: the job must come with the files that ``lacks`` names;
            ``refused``: no worker like this can do it; ``failed``: an error of this call.
        reason: Reason of a refusal or a failure, in one line.
        lacks: Files that the worker has not: ``data``, ``backbone``.
        device: Device of the worker.
        machine: Machine type of the worker; None before it is known.
        busy_s: Seconds of the call.
        runs: The runs, in the order of the job.
        measured: Measurement of a step, as plain values; empty if none was asked for.
    """

    status: Literal["done", "lacks", "refused", "failed"]
    reason: Reason = ""
    lacks: tuple[Literal["data", "backbone"], ...] = ()
    device: Device = "auto"
    machine: MachineType | None = None
    busy_s: Seconds = 0.0
    runs: tuple[AnsweredRun, ...] = ()
    measured: dict[str, float | int | str | None] = Field(default_factory=dict)
