"""Specifications of a page's pictures, in Vega-Lite's JSON. Accuracies are in percent.

A specification holds its own rows, under the name ``rows``; the sliders replace them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from floss_sim.page.library import SCHEMA
from floss_sim.page.texts import AGAINST

Row = Mapping[str, Any]
# At least 3 to 1 against white and against the dark page.
COLOURS = (
    "#2a78c8", "#c2620a", "#2c8a57", "#a04fc4", "#c43d5a", "#7a7a7a", "#8a6d1f", "#1f8a8a",
    "#6fa000", "#d070a8",
)  # fmt: skip
_WITHOUT_NAME = "peek(split(datum.label, ': '))"  # of a label such as "Recommended: rank 4"
_TWO_LINES = "split(datum.label, ': ')"
_FAINT = "#7f7f7f55"
_CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": _FAINT,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "labelFontSize": 12,
        "labelLimit": 600,
        "orient": "bottom",
        "columns": 1,
        "title": None,
        "symbolOpacity": 1,
    },
}
_HEIGHT = 340
_LETTER = 7  # pixels of a letter in a legend, at most


def accuracy_chart(
    rows: Iterable[Row], order: Sequence[str], x_title: str, y_title: str, spoken: str
) -> dict[str, Any]:
    """Return lines of accuracy, with a band where a row has ``low`` and ``high``.

    Args:
        rows: Rows with ``label``, ``x``, ``y`` and ``tip``; an end has ``low`` and ``high``, too.
        order: Labels in the order of their colours.
        x_title: Title of the horizontal axis.
        y_title: Title of the vertical axis.
        spoken: The text alternative.
    """
    x = {"field": "x", "type": "quantitative", "title": x_title}
    y = {"field": "y", "type": "quantitative", "title": y_title, "scale": {"zero": False}}
    ends = [{"filter": "isValid(datum.low)"}]
    layers = [
        {"mark": {"type": "line", "strokeWidth": 2.2}, "encoding": {"y": y}},
        {
            "mark": {"type": "area", "opacity": 0.18, "line": False},
            "transform": ends,
            "encoding": {
                "y": {"field": "low", "type": "quantitative", "title": y_title},
                "y2": {"field": "high"},
            },
        },
        {
            "mark": {"type": "rule", "strokeWidth": 3},
            "transform": [{"filter": "datum.end"}],
            "encoding": {
                "y": {"field": "low", "type": "quantitative", "title": y_title},
                "y2": {"field": "high"},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
            "transform": [{"filter": "datum.end"}],
            "encoding": {"y": y, "tooltip": {"field": "tip"}},
        },
    ]
    colour = {
        "field": "label",
        "type": "nominal",
        "scale": _scale(order),
        "sort": list(order),
        "legend": {"labelExpr": _TWO_LINES, "columns": {"expr": _columns(order)}},
    }
    shared = {"x": x, "color": colour, "detail": {"field": "label"}}
    return _chart(rows, spoken, {"layer": layers, "encoding": shared})


def parts_chart(
    rows: Iterable[Row], order: Sequence[str], x_title: str, spoken: str
) -> dict[str, Any]:
    """Return stacked bars of a round's seconds, one bar a configuration.

    Args:
        rows: Rows with ``label``, ``part``, ``seconds`` and ``place`` of the part in the bar.
        order: Parts in the order of the bar.
        x_title: Title of the horizontal axis.
        spoken: The text alternative.
    """
    encoding = {
        "y": {
            "field": "label",
            "type": "nominal",
            "title": None,
            "sort": None,
            "axis": {"labelLimit": 210, "labelExpr": _WITHOUT_NAME},
        },
        "x": {"field": "seconds", "type": "quantitative", "title": x_title, "stack": True},
        "color": {"field": "part", "type": "nominal", "scale": _scale(order)},
        "order": {"field": "place"},
        "tooltip": [{"field": "label"}, {"field": "part"}, {"field": "seconds", "format": ".3~s"}],
    }
    return _chart(rows, spoken, {"mark": {"type": "bar"}, "encoding": encoding})


def points_chart(
    rows: Iterable[Row], order: Sequence[str], x_title: str, y_title: str, spoken: str
) -> dict[str, Any]:
    """Return points of accuracy against a cost on a logarithmic axis, with their intervals.

    Args:
        rows: Rows with ``label``, ``kind``, ``x``, ``y``, ``low`` and ``high``.
        order: Kinds in the order of their colours.
        x_title: Title of the horizontal axis.
        y_title: Title of the vertical axis.
        spoken: The text alternative.
    """
    y = {"type": "quantitative", "title": y_title, "scale": {"zero": False}}
    layers = [
        {
            "mark": {"type": "rule", "opacity": 0.6},
            "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": {
                "y": {**y, "field": "y"},
                "size": {
                    "condition": {"test": f"datum.kind === '{order[0]}'", "value": 220},
                    "value": 60,
                },
                "tooltip": [{"field": "label"}, {"field": "told"}],
            },
        },
    ]
    shared = {
        "x": {"field": "x", "type": "quantitative", "title": x_title, "scale": {"type": "log"}},
        "color": {"field": "kind", "type": "nominal", "scale": _scale(order)},
    }
    return _chart(rows, spoken, {"layer": layers, "encoding": shared})


def curves_chart(
    rows: Iterable[Row], axes: Sequence[str], y_title: str, spoken: str
) -> dict[str, Any]:
    """Return thin lines of accuracy, many of them; one that the pointer is on is told.

    A list below the picture chooses the horizontal axis.

    Args:
        rows: Rows with ``label``, ``y``, and a value for each axis.
        axes: The axes to choose from.
        y_title: Title of the vertical axis.
        spoken: The text alternative.
    """
    encoding = {
        "x": {"field": "x", "type": "quantitative", "title": None},
        "y": {"field": "y", "type": "quantitative", "title": y_title},
        "detail": {"field": "label"},
        "tooltip": {"field": "label"},
    }
    mark = {"type": "line", "strokeWidth": 1.4, "opacity": 0.55, "color": COLOURS[0]}
    choice = {"input": "select", "options": list(axes), "name": AGAINST}
    drawn = {
        "mark": mark,
        "encoding": encoding,
        "params": [{"name": "axis", "value": axes[0], "bind": choice}],
        "transform": [{"calculate": "datum[axis]", "as": "x"}],
    }
    return _chart(rows, spoken, drawn)


def _columns(order: Sequence[str]) -> str:
    """Return the expression of how many columns of labels a legend has room for."""
    longest = max((len(line) for label in order for line in label.split(": ")), default=0)
    return f"max(1, floor(width / {40 + _LETTER * longest}))"


def _scale(order: Sequence[str]) -> dict[str, Any]:
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(order))]
    return {"domain": list(order), "range": colours}


def _chart(rows: Iterable[Row], spoken: str, marks: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "$schema": SCHEMA,
        "description": spoken,
        "width": "container",
        "height": _HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CONFIG,
        "data": {"name": "rows", "values": list(rows)},
        **marks,
    }
