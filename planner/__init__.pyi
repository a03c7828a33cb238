from .calls import answer, apply_plan, dry_run, export_plan, plan, read_plan
from .candidates import grid
from .question.budget import parse_budget
from .question.request import Request

__all__ = [
    "Request",
    "answer",
    "apply_plan",
    "dry_run",
    "export_plan",
    "grid",
    "parse_budget",
    "plan",
    "read_plan",
]
