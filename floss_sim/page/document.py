"""Document of a page: one HTML file with its style, scripts and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.files import check_file, write_atomically
from floss_sim.page import texts
from floss_sim.page.library import library_script
from floss_sim.page.packed_arrays import PackedArrays
from floss_sim.page.parts import Html, element, joined, script_data

SUFFIX = ".html"
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
_SCRIPTS = ("formula.js", "page.js")


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: Title of the page, plain text.
        body: The body.
        charts: Specifications of pictures, by the name of their place.
        data: What the sliders need; None without sliders.
        arrays: Arrays that ``data`` names by number.
    """

    title: str
    body: Html
    charts: Mapping[str, Any]
    data: Mapping[str, Any] | None = None
    arrays: PackedArrays = field(default_factory=PackedArrays)

    def parts(self) -> dict[str, Html]:
        """Return the parts of the file by name, in order; they differ much in size."""
        packed = {"index": self.arrays.index(), "text": self.arrays.text()}
        given = {"charts": self.charts, "whatIf": self.data, "words": texts.WORDS}
        return {
            "head": _head(self.title),
            "body": joined([element("noscript", texts.NO_SCRIPT), self.body]),
            "library": _script(library_script()),
            "figures": _data("page-data", given),
            "arrays": _data("page-arrays", packed),
            "formula": joined(_script(_file(name)) for name in _SCRIPTS),
        }

    def html(self) -> str:
        """Return the text of the file."""
        head, *rest = self.parts().values()
        return (
            f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{joined(rest)}\n</body></html>\n'
        )

    def save(self, path: Path) -> None:
        """Write the file in one step.

        Raises:
            RecordError: It cannot be written.
        """
        write_atomically(path, self.html())


def check_page_path(path: Path) -> None:
    """Check that a page can be written to a path; nothing is created.

    Raises:
        ConfigError: The path does not end in ``.html``.
        RecordError: It cannot be written.
    """
    if path.suffix != SUFFIX:
        raise ConfigError(f"page {str(path)!r} must end in {SUFFIX}")
    check_file(path)


def _head(title: str) -> Html:
    return element(
        "head",
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", title),
        element("style", Html(_file("page.css"))),
    )


def _file(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _script(code: str) -> Html:
    """Return a script element; what would end it stands in strings alone, and is escaped there."""
    safe = code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return Html(f"<script>{safe}</script>")


def _data(name: str, value: Any) -> Html:
    return Html(f'<script type="application/json" id="{name}">{script_data(value)}</script>')
