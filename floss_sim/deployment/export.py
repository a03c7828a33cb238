"""Export of a run as an app of a deployment framework.

The app's files are those of ``flower_app/``, copied as they are. What depends on the run stands in
``run.json`` and in the values of ``pyproject.toml``.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path

from floss_sim.deployment.library_wheel import write_wheel
from floss_sim.deployment.run_file import RUN_FILE, TASK_FILE, RunFile, read_run_file
from floss_sim.errors import ConfigError, RecordError
from floss_sim.files import replace_folder
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import packaged_tasks

FRAMEWORKS = ("flower",)
_PACKAGE, _PROJECT, _README = "floss_app", "pyproject.toml", "README.md"


def export_app(
    config: RunConfig,
    out: str | Path,
    *,
    task: str,
    rounds: int,
    eval_every: int = 10,
    dataset: str | None = None,
    backbone: str | None = None,
    to: str = "flower",
) -> Path:
    """Write a run as an app of a deployment framework; return the app's folder.

    Args:
        config: The configuration to train.
        out: Folder to write; it does not exist yet, or is empty.
        task: Packaged name, or path of the file, by which the task was loaded.
        rounds: Rounds to train.
        eval_every: Rounds between evaluations; the last round is always evaluated.
        dataset: The ``dataset`` argument of ``load_task``, or None.
        backbone: The ``backbone`` argument of ``load_task``, or None.
        to: The framework; one of ``FRAMEWORKS``.

    Raises:
        ConfigError: The framework is unknown, or its apps cannot hold the method.
        RecordError: The folder is not empty, or cannot be written.

    Example:
        >>> from floss_sim import RunConfig, export_app, floss, load_task
        >>> config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
        >>> app = export_app(config, "app", task="digits", rounds=50)
        >>> sorted(path.name for path in app.iterdir())[:2]
        ['README.md', 'floss_app']
    """
    check_export(out, to)
    file = RunFile.of(
        config, task=task, rounds=rounds, eval_every=eval_every, dataset=dataset,
        backbone=backbone,
    )  # fmt: skip
    path = Path(out).expanduser().absolute()
    with replace_folder(path) as temporary:
        shutil.copytree(
            str(files("floss_sim.deployment") / "flower_app"),
            temporary,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        inside = temporary / _PACKAGE
        (inside / RUN_FILE).write_text(file.text(), encoding="utf-8")
        if task not in packaged_tasks():
            shutil.copyfile(task, inside / TASK_FILE)
        read_run_file(inside / RUN_FILE)  # refuses a task that the app could not load
        wheel = write_wheel(temporary)
        _fill(temporary / _PROJECT, _project_values(file, path))
        _fill_readme(temporary / _README, config, file, wheel.name)
    return path


def check_export(out: str | Path, to: str) -> None:
    """Raise ConfigError unless the framework is known and the folder is empty or missing."""
    if to not in FRAMEWORKS:
        raise ConfigError(f"cannot export to {to!r}; valid: {', '.join(FRAMEWORKS)}")
    path = Path(out).expanduser()
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise RecordError(f"{path} is not empty; choose another folder with --out")


def _project_values(file: RunFile, out: Path) -> dict[str, object]:
    return {"num-server-rounds": file.rounds, "record-path": str(out / "record")}


def _fill(path: Path, values: Mapping[str, object]) -> None:
    """Set keys of a TOML file to values, in place; comments stay."""
    text = path.read_text(encoding="utf-8")
    for key, value in values.items():
        written = json.dumps(value, ensure_ascii=False)  # TOML's strings and numbers are JSON's
        pattern = rf'(?m)^({re.escape(key)} = )(?:"[^"]*"|[0-9.]+)'
        text = re.sub(pattern, partial(_with_value, written), text)
    path.write_text(text, encoding="utf-8")


def _with_value(written: str, found: re.Match[str]) -> str:
    return found[1] + written


def _fill_readme(path: Path, config: RunConfig, file: RunFile, wheel: str) -> None:
    """Write the run's words and numbers in place of the names in capital letters."""
    words = {
        "RUN": f"{config.task.name}, {config.method.name}: {config.describe()}, seed {config.seed}",
        "ROUNDS": str(file.rounds),
        "CLIENTS": str(config.fleet.clients),
        "COHORT": str(config.server.cohort),
        "WHEEL": wheel,
    }
    text = path.read_text(encoding="utf-8")
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    path.write_text(text, encoding="utf-8")
