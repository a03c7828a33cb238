"""Options of the methods, as commands take them: each is declared once, here.

``floss-sim run`` and ``floss-sim estimate`` have all of these options, and a method refuses those
that it does not have. A test compares the table with the parameters of the catalog's functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from floss_sim.errors import ConfigError, DensityError
from floss_sim.methods.catalog import check_options, method_from_name, options_of
from floss_sim.methods.method import Method
from floss_sim.vectors.density import parse_density
from floss_sim.wire import VALUE_CODES

Kind = Literal["density", "integer", "number", "text", "value code", "flag"]
_NUMBERS: Mapping[str, type[int] | type[float]] = {"integer": int, "number": float}
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
_CODES = [f"{name} (default)" if name == "fp32" else name for name in VALUE_CODES]
_VALUES = f"{', '.join(_CODES[:-1])} or {_CODES[-1]}"


@dataclass(frozen=True)
class MethodOption:
    """An option of some methods.

    Attributes:
        name: Name on the command line, with ``_`` in the place of ``-``.
        kind: Kind of its value. A density is a fraction such as ``1/4``.
        help: What it is, and of which methods it is one.
        parameter: Parameter of the method's function if it has another name, else empty.
    """

    name: str
    kind: Kind
    help: str
    parameter: str = ""

    @property
    def flag(self) -> str:
        """The option as it is typed, such as ``--up-density``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """Parameter of the method's function, or field of :class:`Method`."""
        return self.parameter or self.name

    def read(self, value: Any) -> Any:
        """Return the value of the option, read from a text where it is one.

        Raises:
            ConfigError: The text is no number, neither yes nor no, or no value code.
            DensityError: A density cannot be read, or is outside (0, 1].
        """
        if self.kind == "density":
            try:
                return parse_density(value)
            except DensityError as error:
                raise DensityError(f"{self.flag}: {error}") from None
        if not isinstance(value, str):
            return value
        if self.kind in _NUMBERS:
            try:
                return _NUMBERS[self.kind](value)
            except ValueError:
                raise ConfigError(f"{self.flag} {value!r} is not a number") from None
        if self.kind == "flag":
            return read_flag(self.flag, value)
        if self.kind == "value code" and value not in VALUE_CODES:
            raise ConfigError(f"{self.flag} {value!r} is unknown; valid: {', '.join(VALUE_CODES)}")
        return value


def read_flag(what: str, text: str) -> bool:
    """Return whether a text says yes.

    Raises:
        ConfigError: The text says neither yes nor no.
    """
    if text.lower() not in (*_YES, *_NO):
        raise ConfigError(f"{what} {text!r} is neither yes nor no")
    return text.lower() in _YES


METHOD_OPTIONS: Mapping[str, MethodOption] = {
    option.name: option
    for option in (
        MethodOption("down_density", "density", "Fraction of P sent down."),
        MethodOption("up_density", "density", "Fraction of an update sent up."),
        MethodOption(
            "density",
            "density",
            "sparse-adapter: density of its one mask; fslora: fraction of ranks; freezing: of "
            "layers that never freeze; default 1/4.",
        ),
        MethodOption("factor", "number", "adapter-lth: fraction of the mask kept each round."),
        MethodOption(
            "tiers", "text", "floss-tiers: share:down:up,... ; hetlora, flexlora: share:ranks,..."
        ),
        MethodOption("which", "text", "hetlora: first or largest ranks."),
        MethodOption(
            "divisor",
            "text",
            "hetlora, fslora: average an entry over the cohort, or over the covering clients.",
        ),
        MethodOption(
            "candidate_seeds",
            "integer",
            "fedkseed: directions of the model; default 4096.",
            "seeds",
        ),
        MethodOption(
            "local_steps",
            "integer",
            "fedkseed: steps of a client in a round; default 200.",
            "steps",
        ),
        MethodOption(
            "epsilon",
            "number",
            "fedkseed: distance at which a step measures the loss along a direction; default 5e-4.",
        ),
        MethodOption(
            "direction_rate",
            "number",
            "fedkseed: learning rate along a direction, such as 1e-4; default: that of clients.",
            "rate",
        ),
        MethodOption("heads", "integer", "ravan: heads that share the rank; default 4."),
        MethodOption(
            "scope",
            "text",
            "Rank entries over the whole vector (global, default) or in each tensor.",
        ),
        MethodOption("pick", "text", "Entries to keep: largest (default) or random."),
        MethodOption("segments", "integer", "ecolora: number of segments; default 5."),
        MethodOption(
            "a_density", "density", "ecolora: density of A; default 1.2 times --up-density."
        ),
        MethodOption(
            "half_life",
            "number",
            "ecolora: rounds in which densities fall half of the way; default 10.",
        ),
        MethodOption(
            "freeze_every",
            "integer",
            "freezing: rounds after which one more layer freezes; default 10.",
        ),
        MethodOption(
            "product_rate",
            "number",
            "flexlora: weight of the mean product in the server's new product; default 1.",
        ),
        MethodOption(
            "penalty",
            "number",
            "lora-fair: penalty (lambda) of the correction of B; default 0.01.",
        ),
        MethodOption(
            "rebase_every",
            "integer",
            "fedsvd: rounds from one renewal of A to the next; default 1; 0: never.",
        ),
        MethodOption(
            "private_rank",
            "integer",
            "feddpa: rank of the private adapter; default that of the shared one; 0: none.",
        ),
        MethodOption(
            "together",
            "flag",
            "feddpa: train both adapters together, in one pass; default in turns.",
        ),
        MethodOption(
            "merge_rate", "number", "flora: factor of the merged mean product; default 1."
        ),
        MethodOption(
            "residual_rank",
            "integer",
            "fedex-lora: number of singular values of a residual that are sent; default all.",
        ),
        MethodOption("dense_head", "flag", "Always send the whole task head."),
        MethodOption("down_values", "value code", f"Value code of downloads: {_VALUES}."),
        MethodOption("up_values", "value code", "Value code of uploads, with the same choice."),
        MethodOption(
            "error_feedback",
            "flag",
            "Error feedback: accumulate unsent entries, add them to the next update.",
        ),
        MethodOption(
            "mask_ledger",
            "flag",
            "Code download positions relative to the mask that the client already holds: "
            "smaller downloads, state on the server.",
        ),
        MethodOption(
            "change_ledger",
            "flag",
            "Download only what has changed since the client's last reply (rolora, lora-a2, "
            "fedsrd, freezing; fedsvd if --rebase-every is not 1): smaller downloads, state on "
            "both ends.",
        ),
    )
}


def method_of_options(name: str, given: Mapping[str, Any]) -> Method:
    """Return a method, given its name and options as commands have them.

    Args:
        name: Name of the method.
        given: Values by name of the option, as text or read; of any option of the table.

    Raises:
        ConfigError: An unknown method, an option that it does not have, or a value that cannot be
            read.
        DensityError: A density is outside (0, 1].
    """
    has = options_of(name)
    check_options(name, given, [o.name for o in METHOD_OPTIONS.values() if o.key in has])
    options = (METHOD_OPTIONS[key] for key in given)
    return method_from_name(name, **{o.key: o.read(given[o.name]) for o in options})
