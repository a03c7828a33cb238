"""Statistics of recorded messages for the package, and their errors on held-out runs.

    python experiments/message_sizes/fit.py           # a minute, from messages.parquet
    python experiments/message_sizes/fit.py square    # these; all others stay as they are

Fits the constants of the touched share and the ratios of real to simple sizes to the recorded runs,
and writes ``size_statistics.json`` into the package. Errors are those of runs that were not fitted:
each configuration is predicted from fits to four fifths of all configurations, and ``20news`` also
from fits to the other tasks. ``errors.csv`` has every held-out run in every value code,
``results.md`` the errors by kind beside those of uniform positions and normal values, and those of
runs of some rounds.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from fitting import fit
from held_out import BAND_COLUMNS, KEYS, UNLIKE, error_table, held_out_errors, whole_runs
from spans import PLAIN, Row, is_fitted, name_of, runs_of, table

import floss_sim.methods.size_statistics as shipped
from floss_sim.methods.size_statistics import ROUND_BANDS
from floss_sim.wire import VALUE_CODES

HERE = Path(__file__).parent
SHOWN_CODES = ("fp32", "int8", "tail")  # by the number of rounds
SHIPPED = Path(shipped.__file__).with_name("size_statistics.json")


def main(names: Sequence[str]) -> None:
    """Fit, measure the errors, and write all files.

    Args:
        names: Names of the statistics to replace or add, none of them of LoRA's own (``floss``);
            empty for all. A fit on another machine differs in the last digits, and with it every
            predicted size.
    """
    before = json.loads(SHIPPED.read_text(encoding="utf-8"))
    kept, rows = (before if names else None), table()
    document = {
        "source": "experiments/message_sizes/fit.py, from messages.parquet",
        "runs": len(runs_of(rows)),
        "tasks": sorted({row["task"] for row in rows}),
    }
    if names:
        rows = [row for row in rows if name_of(row) in names]
    document |= fit([row for row in rows if is_fitted(row)], kept)
    if names:
        document = with_kept(before, document, names)
    ship({**document, "errors": []})
    errors = held_out_errors(rows, kept)
    runs, kinds = whole_runs(errors), error_table(errors)
    if names:
        runs = [*kept_rows("errors.csv", names), *(r for r in runs if r["method"] in names)]
        kinds = [*kept_rows("kinds.csv", names), *(k for k in kinds if k["method"] in names)]
        kinds.sort(key=lambda kind: [kind[name] for name in KEYS])
    write_csv("errors.csv", runs)
    write_csv("kinds.csv", kinds)
    write_results(kinds)
    told = [kind for kind in kinds if kind["method"] != UNLIKE]
    errors_of_kinds = [
        {name: kind[name] for name in KEYS} | {"errors": [kind[name] for name in BAND_COLUMNS]}
        for kind in told
    ]
    ship({**document, "errors": errors_of_kinds})


def with_kept(before: Row, document: Row, names: Sequence[str]) -> Row:
    """Return a document of which only the statistics of some names are new."""
    added = {name: document["touched"][name] for name in names if name in document["touched"]}
    return {**document, "touched": before["touched"] | added, "surfaces": before["surfaces"]}


def kept_rows(name: str, names: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV file beside this one whose methods have other names."""
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("runs", "before", *BAND_COLUMNS)
    return [
        {k: float(v) if k in numbers[1:] else int(v) if k == "runs" else v for k, v in row.items()}
        if name == "kinds.csv"
        else row
        for row in rows
        if row["method"] not in names
    ]


def write_csv(name: str, rows: Sequence[Row]) -> None:
    """Write rows as a CSV file beside this one."""
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_results(kinds: Sequence[Row]) -> None:
    """Write the errors by kind as a Markdown table, one row for each method, direction and band."""
    codes = list(VALUE_CODES)
    lines = [
        "# Errors of predicted bytes, in percent: before, now",
        "",
        f"| method | direction | density | runs | {' | '.join(codes)} |",
        "|---" * (4 + len(codes)) + "|",
    ]
    rows: dict[tuple[str, str, str], dict[str, Row]] = defaultdict(dict)
    for kind in kinds:
        rows[kind["method"], kind["direction"], kind["density"]][kind["values"]] = kind
    for key, made in rows.items():
        cells = [
            f"{100 * made[code]['before']:.1f}, {100 * made[code]['error']:.1f}"
            if code in made else "" for code in codes
        ]  # fmt: skip
        runs = max(kind["runs"] for kind in made.values())
        lines.append(f"| {' | '.join([*key, str(runs), *cells])} |")
    lines += _lines_by_rounds(kinds)
    (HERE / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines_by_rounds(kinds: Sequence[Row]) -> list[str]:
    """Return the Markdown table of FLoSS' errors by the number of rounds."""
    names = [f"up to {most}" for most in ROUND_BANDS] + ["more"]
    lines = [
        "",
        "# Errors of FLoSS by the number of rounds, in percent",
        "",
        f"| direction | density | values | {' | '.join(names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for kind in kinds:
        if kind["method"] == PLAIN and kind["values"] in SHOWN_CODES:
            cells = [f"{100 * kind[name]:.1f}" for name in BAND_COLUMNS]
            said = (kind["direction"], kind["density"], kind["values"])
            lines.append(f"| {' | '.join([*said, *cells])} |")
    return lines


def ship(document: Row) -> None:
    """Write the statistics into the package."""
    text = json.dumps(document, indent=1) + "\n"
    lists = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    SHIPPED.write_text(lists, encoding="utf-8")
    shipped.size_statistics.cache_clear()


if __name__ == "__main__":
    main(sys.argv[1:])
