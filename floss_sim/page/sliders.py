"""Sliders of a page: their values, texts, and the words of a command line that set them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from floss_sim.page import texts
from floss_sim.page.parts import Html, element, slider
from floss_sim.page.shown import ShownNetwork, Slider
from floss_sim.units import format_duration

_FACTORS = tuple(float(f"{2 ** (step / 4):.3g}") for step in range(-16, 17))  # 1/16 to 16
_RATIOS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 100.0)
_RTTS_S = (0.0, 0.005, 0.01, 0.02, 0.036, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
BUDGET_FACTORS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Settings:
    """Settings of the sliders at first: those of the network on which the page was made."""

    down: float = 1.0
    up: float = 1.0
    ratio: float = 0.0
    rtt_s: float | None = None
    compute: float = 1.0

    @property
    def words(self) -> str:
        """Words of a command line that change a network so, each after a space."""
        factors = {"scale-down": self.down, "scale-up": self.up, "scale-compute": self.compute}
        given = {name: _number(value) for name, value in factors.items() if value != 1}
        given |= {"upload-ratio": _number(self.ratio)} if self.ratio else {}
        given |= {} if self.rtt_s is None else {"rtt": f"{_number(self.rtt_s)}s"}
        return "".join(f" --{name} {text}" for name, text in given.items())


def network_sliders(
    networks: Sequence[ShownNetwork], at: Settings, *, computes: bool, rates: bool = True
) -> dict[str, Slider]:
    """Return the sliders of a page's networks.

    Args:
        networks: The networks to choose from.
        at: Where the sliders stand at first.
        computes: Whether a client of any network computes.
        rates: Whether up rates may be set to a ratio.
    """
    made = {
        "network": Slider(
            texts.SLIDER_NETWORK,
            range(len(networks)),
            [one.title for one in networks],
            [one.words for one in networks],
            0,
        ),
        "down": _factor_slider(texts.SLIDER_DOWN, "--scale-down", at.down),
        "up": _factor_slider(texts.SLIDER_UP, "--scale-up", at.up),
    }
    if rates:
        made["ratio"] = _optional_slider(texts.SLIDER_RATIO, "--upload-ratio", _RATIOS, at.ratio)
    rtts = (*_RTTS_S, *([] if at.rtt_s is None else [at.rtt_s]))
    made["rtt"] = _rtt_slider(sorted(set(rtts)), at.rtt_s)
    if computes or at.compute != 1:
        made["compute"] = _factor_slider(texts.SLIDER_COMPUTE, "--scale-compute", at.compute)
    return made


def budget_slider(told: Iterable[str]) -> Slider:
    """Return the slider of the budget, given the text of each of ``BUDGET_FACTORS``."""
    at = BUDGET_FACTORS.index(1.0)
    return Slider(texts.SLIDER_BUDGET, BUDGET_FACTORS, list(told), [""] * len(BUDGET_FACTORS), at)


def controls(sliders: Mapping[str, Slider]) -> Html:
    """Return the sliders as HTML; networks are chosen from a list."""
    parts = []
    for name, one in sliders.items():
        if name == "network":
            parts.append(_network_choice(one))
        else:
            parts.append(slider(name, one.label, len(one.values), one.at, one.told[one.at]))
    return element("div", *parts, class_="sliders")


def _network_choice(one: Slider) -> Html:
    choices = [element("option", told, value=k) for k, told in enumerate(one.told)]
    field = element("select", *choices, id="set-network")
    told = element("output", "", id="told-network", hidden=True)
    return element("label", element("span", one.label), told, field, for_="set-network")


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _factor_slider(label: str, option: str, at: float) -> Slider:
    values = sorted({*_FACTORS, at})
    told = [texts.FACTOR.format(factor=f"{value:.3g}") for value in values]
    words = ["" if value == 1 else f"{option} {_number(value)}" for value in values]
    return Slider(label, values, told, words, values.index(at))


def _optional_slider(label: str, option: str, steps: Sequence[float], at: float) -> Slider:
    values = sorted({0.0, *steps, at})
    told = [f"{value:.3g}" if value else texts.AS_IT_IS for value in values]
    words = [f"{option} {_number(value)}" if value else "" for value in values]
    return Slider(label, values, told, words, values.index(at))


def _rtt_slider(values: Sequence[float], at: float | None) -> Slider:
    told = [texts.AS_IT_IS, *(format_duration(value) if value else "0 ms" for value in values)]
    words = ["", *(f"--rtt {_number(value)}s" for value in values)]
    every = [None, *values]
    return Slider(texts.SLIDER_RTT, every, told, words, every.index(at))
