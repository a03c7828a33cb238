"""A page as a reader sees it: its elements, its texts, its data."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

EMPTY = {"meta", "input", "br"}


class ReadPage(HTMLParser):
    """Elements of a page in order, and the texts outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.scripts.append((self.elements[-1][1], data))
        elif data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def data(self, name: str) -> Any:
        return json.loads(next(code for given, code in self.scripts if given.get("id") == name))

    def count(self, tag: str) -> int:
        return sum(1 for one, _ in self.elements if one == tag)
