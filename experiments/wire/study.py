"""The wire format measured: data as CSV, then results.md.

    python experiments/wire/study.py                   # everything but `large`: 15 minutes
    python experiments/wire/study.py sizes speed       # some parts
    python experiments/wire/study.py large             # sizes at 100,000,000 entries
    python experiments/wire/study.py tables            # results.md alone, from the data

Every part measures anew and overwrites its data; each runs in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from statistics import fmean, stdev

from tables import HERE, VIT_ENTRIES, Row, markdown, read

from floss_sim.wire import VALUE_CODES

SCRIPTS = {
    "sizes": ["sizes.py"],
    "speed": ["speed.py"],
    "share": ["recorded.py", "--share"],
    "recorded": ["recorded.py"],
    "accuracy": ["accuracy.py"],
    "large": ["sizes.py", "--large"],
}


def main(arguments: Sequence[str]) -> None:
    """Measure the parts that are asked for, then write the tables."""
    for part in arguments or [part for part in SCRIPTS if part != "large"]:
        if part in SCRIPTS:
            script, *options = SCRIPTS[part]
            subprocess.run([sys.executable, str(HERE / script), *options], check=True)  # noqa: S603
        elif part != "tables":
            raise SystemExit(f"unknown part {part!r}; valid: {', '.join([*SCRIPTS, 'tables'])}")
    text = "\n".join(f"## {title}\n\n{markdown(rows)}" for title, rows in tables().items() if rows)
    (HERE / "results.md").write_text(text, encoding="utf-8")


def tables() -> dict[str, list[Row]]:
    """Return all tables by their titles."""
    return {
        "Index bytes over log2 C(n, k), uniform positions": indices(),
        "Payload over log2 C(n, k) and value bits": ratios(),
        "Bits per kept entry, positions and value": bits(),
        f"Bytes beside other formats, {VIT_ENTRIES:,} entries": others(VIT_ENTRIES),
        "Bytes beside other formats, 100,000,000 entries": others(100_000_000),
        "Error of value codes: the largest 1/16 of normal values": read("errors.csv"),
        f"Milliseconds at {VIT_ENTRIES:,} entries, one thread": speed(),
        "100,000,000 entries": read("large.csv"),
        "Recorded masks": read("recorded.csv"),
        "Recorded values: bits of a value in each code": recorded_values(""),
        "Recorded values: mean squared error of each code, relative": recorded_values("_error"),
        "Recorded downloads beside an older mask: index bytes over log2 C(n, k)": read("held.csv"),
        "Coding in the processor time of digits": read("share.csv"),
        "Accuracy through decoded values: digits, percent": accuracy(),
    }


def indices() -> list[Row]:
    """Return the ratio of every index code to the floor."""
    rows = []
    for row in read("indices.csv"):
        said = {name: row.pop(name) for name in ("entries", "density", "kept")}
        floor = float(row.pop("floor"))
        ratios = {name: f"{float(value) / floor:.4f}" for name, value in row.items()}
        rows.append({**said, "floor, bytes": f"{floor:.0f}", **ratios})
    return rows


def ratios() -> list[Row]:
    """Return how far each payload is above the floor and its values."""
    return [
        {**_said(row), **{code: row[f"{code}_ratio"] for code in VALUE_CODES}}
        for row in read("payloads.csv")
    ]


def bits() -> list[Row]:
    """Return what a kept entry takes in all."""
    return [
        {**_said(row), **{code: row[f"{code}_bits"] for code in VALUE_CODES}}
        for row in read("payloads.csv")
    ]


def others(entries: int) -> list[Row]:
    """Return our payloads beside torch's and plain formats, in bytes."""
    names = ("fp32", "fp16", "torch_coo", "torch_dense", "coo32_fp32", "bitmap_fp32")
    return [
        {"density": row["density"], **{name: f"{int(row[name]):,}" for name in names}}
        for row in read("payloads.csv")
        if int(row["entries"]) == entries
    ]


def _said(row: Row) -> Row:
    return {name: row[name] for name in ("entries", "density", "kept")}


def speed() -> list[Row]:
    """Return best / median / processor's median of each step; missed by the best: in bold."""
    steps: dict[tuple[str, str], Row] = {}
    for row in read("speed.csv"):
        told = " / ".join(f"{float(row[n]):.2f}" for n in ("best_ms", "median_ms", "cpu_ms"))
        missed = row["goal_ms"] and float(row["best_ms"]) > float(row["goal_ms"])
        line = steps.setdefault((row["step"], row["what"]), {"step": row["step"]})
        line |= {"what": row["what"], "goal": row["goal_ms"]}
        line[f"{row['values']}, {row['density']}"] = f"**{told}**" if missed else told
    order = ("top-k", "encode", "decode")
    return sorted(steps.values(), key=lambda line: order.index(line["step"]))


def recorded_values(what: str) -> list[Row]:
    """Return the bits (``""``) or the errors (``"_error"``) of real values."""
    return [
        {"run": row["run"], "direction": row["direction"]}
        | {code: row[f"{code}{what}"] for code in VALUE_CODES}
        for row in read("values.csv")
    ]


def accuracy() -> list[Row]:
    """Return mean and deviation over the seeds, and paired differences from fp32."""
    rows = read("accuracy.csv")
    by_code = {code: [r for r in rows if r["values"] == code] for code in VALUE_CODES}
    table = []
    for code, own in by_code.items():
        line: Row = {"values": code, "seeds": len(own)}
        for split in ("validation", "test"):
            scores, plain = (
                [100 * float(r[split]) for r in part] for part in (own, by_code["fp32"])
            )
            differences = [a - b for a, b in zip(scores, plain, strict=True)]
            line[split] = _spread(scores)
            line[f"{split} - fp32"] = _spread(differences, "+") if code != "fp32" else ""
        for way in ("down_bytes", "up_bytes"):
            line[way] = f"{fmean(float(r[way]) for r in own):,.0f}"
        table.append(line)
    return table


def _spread(values: Sequence[float], sign: str = "") -> str:
    return f"{fmean(values):{sign}.2f} ± {stdev(values):.2f}"


if __name__ == "__main__":
    main(sys.argv[1:])
