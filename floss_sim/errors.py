"""Exceptions that floss-sim raises on purpose, as a hierarchy.

::

    FlossError
    ├── ConfigError              an invalid setting, name or file from the user; exit code 2
    │   ├── UnitError            a quantity that has no known unit or is out of range
    │   ├── DensityError         a density outside (0, 1]
    │   ├── LayoutError          an impossible rank, role or backbone
    │   ├── TaskError            an unknown or unusable task
    │   ├── ProfileError         an unknown or unusable network profile
    │   ├── BudgetError          a budget that cannot be read or met
    │   ├── PlanError            a plan file that cannot be used
    │   └── RecordError          a run folder that cannot be used
    │       └── RecordLockedError  another process is writing it
    ├── PayloadError             bytes that are not a message of this layout
    │   └── MissingStateError    a download builds on what its client does not hold
    └── DivergedError            training diverged; exit code 4
        └── NonFiniteUpdateError   a client's update holds NaN or infinity
"""

from __future__ import annotations


class FlossError(Exception):
    """Base of every error that floss-sim raises on purpose.

    Example:
        >>> from floss_sim import FlossError, load_profile
        >>> try:
        ...     load_profile("no-such-network")
        ... except FlossError as error:
        ...     print(type(error).__name__)
        ProfileError
    """


class ConfigError(FlossError):
    """A setting, name or file from the user is invalid."""


class UnitError(ConfigError):
    """A quantity has no known unit or is out of range."""


class DensityError(ConfigError):
    """A density is outside (0, 1] or cannot be read."""


class LayoutError(ConfigError):
    """A layout cannot be built from this rank, these roles or this backbone."""


class TaskError(ConfigError):
    """A task is unknown or its file or data cannot be used."""


class ProfileError(ConfigError):
    """A network profile is unknown or its file cannot be used."""


class BudgetError(ConfigError):
    """A budget cannot be read, or no candidate can meet it."""


class PlanError(ConfigError):
    """A plan file cannot be read, or its task or network has changed since it was made."""


class RecordError(ConfigError):
    """A run folder cannot be created, read or continued."""


class RecordLockedError(RecordError):
    """Another process is writing this run folder."""


class PayloadError(FlossError):
    """Bytes are not a well-formed message of the expected layout."""


class MissingStateError(PayloadError):
    """A download builds on what its client does not hold, or does not hold any more."""


class DivergedError(FlossError):
    """Training diverged: no further round makes sense."""


class NonFiniteUpdateError(DivergedError):
    """A client's update holds NaN or infinity; the message names client and round."""
