"""Conditions ``COLUMN=VALUE`` that rows must meet, and the values that exist if none does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from floss_sim.errors import ProfileError
from floss_sim.network.measured.csv_table import CsvTable
from floss_sim.network.text_lines import shown

_MOST_VALUES = 1000  # distinct values of a column that are counted
_LONGEST_VALUE = 200  # characters of a counted value
_SHOWN_VALUES = 12


class Conditions:
    """Conditions that rows of a table must meet, compared as text.

    Raises:
        ProfileError: A condition that is not ``COLUMN=VALUE``, or whose column does not exist.
    """

    def __init__(self, table: CsvTable, texts: Sequence[str]) -> None:
        self._wanted = [_condition(table, text) for text in texts]
        self._seen: list[Counter[str]] = [Counter() for _ in texts]

    def met_by(self, cells: Sequence[str]) -> bool:
        """Return whether a row meets all conditions; its values are counted."""
        met = True
        for (_, place, value), seen in zip(self._wanted, self._seen, strict=True):
            text = cells[place].strip()
            met = met and text == value
            if text in seen or (len(seen) < _MOST_VALUES and len(text) <= _LONGEST_VALUE):
                seen[text] += 1
        return met

    def explanation(self) -> str:
        """Return the reason why no row meets all conditions, with the values that exist."""
        lacking = [
            f"none has {shown(name)}={shown(value)}; {shown(name)} has {_value_list(seen)}"
            for (name, _, value), seen in zip(self._wanted, self._seen, strict=True)
            if value not in seen
        ]
        return "; ".join(lacking) or "none meets all conditions of --where at once"


def _condition(table: CsvTable, text: str) -> tuple[str, int, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ProfileError(f"--where {text!r} is not COLUMN=VALUE, such as technology=4G")
    return name.strip(), table.place(name.strip(), "--where"), value.strip()


def _value_list(seen: Counter[str]) -> str:
    values = [f"{shown(value) or 'empty cells'} ({n})" for value, n in seen.most_common()]
    more = len(values) - _SHOWN_VALUES
    return ", ".join(values[:_SHOWN_VALUES]) + (f" and {more} others" if more > 0 else "")
