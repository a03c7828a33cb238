"""Tables for notebooks, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(rows: Iterable[Sequence[str]], columns: Sequence[str] = (), title: str = "") -> str:
    """Return an HTML table; every cell is escaped.

    Args:
        rows: The cells, row by row.
        columns: The heads of the columns; empty for a table without a head.
        title: The caption; empty for none.
    """
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    head = f"<thead>{_row(columns, 'th')}</thead>" if columns else ""
    body = "".join(_row(row, "td") for row in rows)
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
