"""Train tiny random models of every family with LoRA and DoRA, and write the table of README.md.

    make check-families

For each case: one round with the bank, if it serves the adapted modules, and with the sequential
learner; the exported adapter is loaded in plain PEFT. Exit code 1 if a case is not as it must be.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from family_checks import FamilyReport, check_family
from tiny_families import FAMILIES, TinyFamily

from floss_sim.errors import FlossError

README = Path(__file__).with_name("README.md")
COLUMNS = ("family", "task", "adapters on", "learner", "LoRA: bank", "reload", "DoRA: bank",
           "reload")  # fmt: skip
_TABLE = re.compile(r"^\|.*\|\n(?:\|.*\|\n)*", re.MULTILINE)


def main() -> int:
    """Write the table; return 1 if a case has problems, else 0."""
    torch.set_num_threads(1)
    rows, problems = [], []
    for case, family in FAMILIES.items():
        reports = [_report(case, dora=dora) for dora in (False, True)]
        rows.append(" | ".join(_cells(case, family, reports)))
        problems += [f"{case}: {said}" for said in _problems(family, reports)]
        print(rows[-1], flush=True)
    lines = [" | ".join(COLUMNS), "|".join(["---"] * len(COLUMNS)), *rows]
    table = "".join(f"| {line} |\n" for line in lines)
    README.write_text(_TABLE.sub(lambda _: table, README.read_text(encoding="utf-8"), 1), "utf-8")
    print("\n".join(problems))
    return int(bool(problems))


def _report(case: str, *, dora: bool) -> FamilyReport | str:
    """Return the report of a case, or the line by which it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return check_family(case, Path(folder), dora=dora)
        except FlossError as error:
            return str(error)


def _problems(family: TinyFamily, reports: list[FamilyReport | str]) -> Iterator[str]:
    for report in reports:
        if isinstance(report, FamilyReport):
            yield from report.problems
            if report.learner != family.learner:
                yield f"trained by the {report.learner} learner"
        elif "experts" not in family.targets and report is reports[0]:
            yield report


def _cells(case: str, family: TinyFamily, reports: list[FamilyReport | str]) -> Iterator[str]:
    """Yield the cells of a row."""
    first = reports[0]
    yield family.model_type or case
    yield family.kind
    yield ", ".join(family.targets)
    if isinstance(first, str):
        yield first
    elif first.reason:
        yield f"sequential: `{first.reason.partition(' ')[0]}`"
    else:
        yield "bank, sequential"
    for report in reports:
        if isinstance(report, str):
            yield from ("refused", "")
            continue
        yield "" if report.bank_gap is None else _short(report.bank_gap)
        yield _short(report.reload_gap)


def _short(gap: float) -> str:
    return f"{gap:.0e}" if gap else "0"


if __name__ == "__main__":
    sys.exit(main())
