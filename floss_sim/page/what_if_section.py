"""Section of a page with its sliders, and the places that its script fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from floss_sim.page import texts
from floss_sim.page.charts import parts_chart, points_chart
from floss_sim.page.parts import Html, element, figure, paragraphs, section
from floss_sim.page.shown import Slider
from floss_sim.page.sliders import controls

POINTS, BARS = "what-if", "parts"  # names of its pictures


def what_if_section(sliders: Mapping[str, Slider], notes: Sequence[str]) -> Html:
    """Return the section of the sliders.

    Args:
        sliders: The sliders by name.
        notes: What the sliders do not cover, and how to ask for it.
    """
    return section(
        texts.WHAT_IF,
        paragraphs([texts.WHAT_IF_TEXT]),
        controls(sliders),
        element("p", "", id="rates", class_="note"),
        element("p", "", id="what-if-answer", class_="answer", role="status"),
        figure(POINTS, texts.WHAT_IF_CAPTION, texts.WHAT_IF_SPOKEN),
        _filled_table(texts.WHAT_IF_TABLE, texts.WHAT_IF_COLUMNS, "what-if-rows"),
        element("h3", texts.CROSSOVERS),
        _filled_table(texts.CROSSOVERS_TABLE, texts.CROSSOVER_COLUMNS, "crossovers", wraps=True),
        element("h3", texts.PARTS),
        figure(BARS, texts.PARTS_CAPTION, texts.PARTS_SPOKEN),
        element("h3", texts.CONFIRM),
        paragraphs([texts.CONFIRM_TEXT]),
        element("pre", "", id="command"),
        element("p", element("button", texts.COPY, id="copy", type="button"), _told("copied")),
        paragraphs(notes, class_="note"),
        name="what-if-section",
    )


def what_if_charts() -> dict[str, Any]:
    """Return the pictures of the section, which its script fills."""
    kinds = [texts.WORDS["best"], texts.WORDS["other"]]
    points = points_chart([], kinds, texts.TIME_AXIS, texts.RIGHT_AXIS, texts.WHAT_IF_SPOKEN)
    bars = parts_chart([], texts.WORDS["parts"], texts.PARTS_AXIS, texts.PARTS_SPOKEN)
    return {POINTS: points, BARS: bars}


def _filled_table(caption: str, columns: Sequence[str], name: str, wraps: bool = False) -> Html:
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    whole = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", id=name),
        class_="wraps" if wraps else None,
    )
    return element("div", whole, class_="scroll", role="region", tabindex="0", aria_label=caption)


def _told(name: str) -> Html:
    return element("output", "", id=name)
