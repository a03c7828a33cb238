"""A plan that prints, saves and shows itself: what the public calls return."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from floss_sim.notebook import html_table
from planner.plans.plan import Plan
from planner.report import plan_folder
from planner.report.answer_text import (
    ANSWER_COLUMNS,
    ANSWERS_TITLE,
    COST_COLUMNS,
    answer_row,
    answer_sentences,
    cost_rows,
    device_rows,
)
from planner.report.method_text import METHOD_COLUMNS, method_rows
from planner.report.objective_text import FRONT_COLUMNS, front_rows, front_title
from planner.report.plan_table import columns, plan_title, table_rows
from planner.report.plan_text import sentences
from planner.report.time_text import TIME_TITLE, time_columns, time_rows
from planner.report.usage_text import USAGE_COLUMNS, usage_rows


class ReportedPlan(Plan):
    """A plan with its table, its sentences and its files."""

    @classmethod
    def of(cls, plan: Plan) -> ReportedPlan:
        """Return the plan with its report."""
        return cls(**{field.name: getattr(plan, field.name) for field in fields(plan)})

    def summary(self) -> str:
        """Return the table and the sentences as plain text."""
        lines = [plan_title(self), "", *_aligned_lines([columns(self), *table_rows(self)]), ""]
        lines += [TIME_TITLE, *_aligned_lines([time_columns(self), *time_rows(self)]), ""]
        if usage := usage_rows(self):
            lines += [*_aligned_lines([USAGE_COLUMNS, *usage]), ""]
        if self.methods:
            lines += [*_aligned_lines([METHOD_COLUMNS, *method_rows(self)]), ""]
        lines += sentences(self)
        if self.front:
            lines += ["", front_title(self), *_aligned_lines([FRONT_COLUMNS, *front_rows(self)])]
        if self.also:
            lines += ["", ANSWERS_TITLE]
            for columns_, rows in _answer_tables(self):
                lines += [*_aligned_lines([columns_, *rows]), ""]
            lines += answer_sentences(self.also, own=self.measures_own)
        return "\n".join(lines)

    def save(self, folder: str | Path) -> None:
        """Write ``plan.json`` and its pictures into a folder, which is created.

        Raises:
            RecordError: The folder or a file cannot be written.
        """
        plan_folder.save(self, Path(folder))

    def __repr__(self) -> str:
        best = self.recommendation
        return (
            f"Plan({plan_title(self)}; {best.candidate} for {best.rounds} rounds: validation "
            f"accuracy {best.expected_accuracy:.3f})"
        )

    def _repr_html_(self) -> str:
        """Return the table and the sentences, for notebooks."""
        parts = [
            html_table(table_rows(self), columns(self), plan_title(self)),
            html_table(time_rows(self), time_columns(self), TIME_TITLE),
            *([html_table(usage, USAGE_COLUMNS)] if (usage := usage_rows(self)) else []),
            *([html_table(method_rows(self), METHOD_COLUMNS)] if self.methods else []),
            html_table([line] for line in sentences(self)),
        ]
        if self.front:
            parts.append(html_table(front_rows(self), FRONT_COLUMNS, front_title(self)))
        if self.also:
            titles = (ANSWERS_TITLE, "", "")
            tables = zip(_answer_tables(self), titles, strict=False)
            parts += [html_table(rows, columns_, title) for (columns_, rows), title in tables]
            lines = answer_sentences(self.also, own=self.measures_own)
            parts.append(html_table([line] for line in lines))
        return "".join(parts)


def _answer_tables(plan: Plan) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Return columns and rows of the tables of the answers for further budgets."""
    network = plan.request["network"]
    tables = [
        (ANSWER_COLUMNS, [answer_row(answer, network) for answer in plan.also]),
        (COST_COLUMNS, cost_rows(plan.also, network)),
        (USAGE_COLUMNS, device_rows(plan.also, network)),
    ]
    return [(names, rows) for names, rows in tables if rows]


def _aligned_lines(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines whose columns are aligned: the first left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
