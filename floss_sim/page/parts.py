"""Parts of a page as HTML: sections, tables, pictures, sliders. All texts are escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from floss_sim.page.texts import IN_WORDS
from floss_sim.plain_text import printable


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(plain: object) -> Html:
    """Return a plain text as HTML; control characters become ``?``.

    Names may be of any script: each text is isolated, so that its direction changes no other one.
    """
    return Html(escape(printable(str(plain)), quote=True))


def joined(parts: Iterable[str]) -> Html:
    """Return parts that are HTML as one, in lines."""
    return Html("\n".join(parts))


def element(tag: str, *children: str, **attributes: object) -> Html:
    """Return an element; children that are not HTML are escaped, as are attributes.

    An attribute's underscores are hyphens; one at its end is left out. True stands for an attribute
    without a value, False and None for none.
    """
    inner = "".join(child if isinstance(child, Html) else text(child) for child in children)
    return Html(f"<{tag}{_attributes(attributes)}>{inner}</{tag}>")


def _attributes(given: Mapping[str, object]) -> str:
    made = []
    for key, value in given.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            made.append(f" {name}")
        elif value is not False and value is not None:
            made.append(f' {name}="{text(value)}"')
    return "".join(made)


def section(title: str, *children: str, name: str) -> Html:
    """Return a section with a heading, named for links and screen readers."""
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def paragraphs(lines: Iterable[str], **attributes: object) -> Html:
    """Return each line as a paragraph."""
    return joined(element("p", line, dir="auto", **attributes) for line in lines)


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], **attributes: object
) -> Html:
    """Return a table; the first cell of a row is its heading. It scrolls on a narrow screen."""
    head = element("tr", *(element("th", name, scope="col") for name in columns))
    body = joined(
        element("tr", element("th", first, scope="row", dir="auto"), *_cells(rest))
        for first, *rest in rows
    )
    whole = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", body),
        **attributes,
    )
    return element("div", whole, class_="scroll", role="region", tabindex="0", aria_label=caption)


def _cells(row: Iterable[str]) -> list[Html]:
    return [element("td", cell, dir="auto") for cell in row]


def figure(name: str, caption: str, spoken: str) -> Html:
    """Return the place of a picture.

    Args:
        name: Name of the chart.
        caption: The text below it.
        spoken: The text alternative: what the picture shows, with its figures.
    """
    place = element("div", id=f"chart-{name}", class_="chart")
    words = element("p", spoken, id=f"spoken-{name}")
    told = element("details", element("summary", IN_WORDS), words, class_="spoken")
    return element("figure", place, element("figcaption", caption), told)


def slider(name: str, label: str, steps: int, at: int, spoken: str) -> Html:
    """Return a slider over the places of some values, with its label and the value in words."""
    field = element(
        "input",
        type="range",
        id=f"set-{name}",
        min=0,
        max=steps - 1,
        step=1,
        value=at,
        aria_valuetext=spoken,
    )
    start = Html(field.removesuffix("</input>"))
    output = element("output", spoken, id=f"told-{name}", for_=f"set-{name}")
    return element("label", element("span", label), output, start, for_=f"set-{name}")


def script_data(value: Any) -> Html:
    """Return a value as JSON that may stand inside a script element.

    ``<``, ``>`` and ``&`` are written as escapes of JSON, so that no name can end the element.
    """
    plain = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    return Html(plain)
