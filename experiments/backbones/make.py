"""Write the packaged model tables from the installed model library.

    python experiments/backbones/make.py

Reads hub id, number of parameters and config of every backbone in floss_sim/families/backbones and
writes its tables again. To add a backbone, write a file ``NAME.json`` with these keys and its
task kinds, the usual one first, and run this::

    {"hub_id": ..., "parameters": ..., "config": {...}, "kinds": ["next-token"]}

Ids of models of the same sizes may be added as ``"same_sizes": [...]``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import floss_sim
from floss_sim.families.from_library import model_table
from floss_sim.families.model_table import ModelTable

KEYS = ("hub_id", "same_sizes", "parameters", "config")
FOLDER = Path(floss_sim.__file__).parent / "families" / "backbones"


def main() -> None:
    """Write the tables of every backbone."""
    for path in sorted(FOLDER.glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        kinds = facts.pop("kinds", None) or list(facts["tables"])
        made = {kind: model_table(facts["config"], kind) for kind in kinds}
        tables = {kind: replace(table, defaults={}) for kind, table in made.items()}
        check(path.stem, tables[kinds[0]], facts["parameters"])
        facts["tables"] = {kind: table.to_json() for kind, table in tables.items()}
        path.write_text(text(facts), encoding="utf-8")
        print(f"{path.stem}: {', '.join(kinds)}")


def check(name: str, table: ModelTable, published: int) -> None:
    """Refuse a table whose parameters, without the new head, are not the published number."""
    head = {parameter for path in table.head for parameter in table.below(path)}
    found = sum(prod(shape) for n, shape in table.parameters.items() if n not in head)
    if found != published:
        raise SystemExit(f"{name} has {found} parameters, published are {published}")


def text(facts: dict[str, Any]) -> str:
    """Return facts as JSON, with one row of a table in a line."""
    tables = ",\n".join(
        f"  {json.dumps(kind)}: {{\n{table_text(table)}\n  }}"
        for kind, table in facts["tables"].items()
    )
    stated = [key for key in KEYS if key in facts]
    others = [f" {json.dumps(key)}: {json.dumps(facts[key])},\n" for key in stated]
    return "{\n" + "".join(others) + ' "tables": {\n' + tables + "\n }\n}\n"


def table_text(table: dict[str, Any]) -> str:
    """Return the keys of a table as lines of JSON."""
    return ",\n".join(f"   {json.dumps(key)}: {value_text(value)}" for key, value in table.items())


def value_text(value: Any) -> str:
    """Return a value as JSON; the rows of a list of rows stand in a line each."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n   ]"
    return json.dumps(value)


if __name__ == "__main__":
    main()
