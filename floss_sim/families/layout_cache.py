"""Cache of the model library's answers, as JSON by the hash of the question.

The question holds all that decides the answer: config, task kind, number of classes, settings, and
the versions of the libraries. A file that cannot be read, or whose checksum is not that of its
content, is no answer, and is written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from platformdirs import user_cache_dir

from floss_sim.errors import RecordError
from floss_sim.files import write_atomically
from floss_sim.fingerprints import fingerprint

_SCHEMA = 11  # raised whenever the form of the files or the meaning of an answer changes
_PACKAGES = ("torch", "transformers", "peft")


class Answer(Protocol):
    """Interface of answers that are kept as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the answer of plain values."""


AnswerT = TypeVar("AnswerT", bound=Answer)


def ask_once(
    question: Mapping[str, Any], form: type[AnswerT], ask: Callable[[], AnswerT]
) -> AnswerT:
    """Return the cached answer to a question, or ask and keep the answer."""
    key = cache_key(question)
    content = read_answer(key)
    if content is not None:
        return form.from_json(content)
    answer = ask()
    write_answer(key, answer.to_json())
    return answer


def cache_folder() -> Path:
    """Return ``$FLOSS_SIM_LAYOUTS``, or a folder in the user cache."""
    chosen = os.environ.get("FLOSS_SIM_LAYOUTS")
    return Path(chosen).expanduser() if chosen else Path(user_cache_dir("floss-sim")) / "layouts"


def cache_key(question: Mapping[str, Any]) -> str:
    """Return the hash of a question and of the installed versions."""
    versions = {name: version(name) for name in _PACKAGES}
    return fingerprint({**question, "versions": versions, "schema": _SCHEMA})


def read_answer(key: str) -> Any:
    """Return the cached answer to a question, as plain values; None if there is no whole one."""
    try:
        content = json.loads((cache_folder() / f"{key}.json").read_text(encoding="utf-8"))
        answer = content["answer"]
        is_whole = content["sha256"] == _checksum(key, answer)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return answer if is_whole else None


def write_answer(key: str, answer: Mapping[str, Any]) -> None:
    """Write the answer to a question; a folder that cannot be written is left alone."""
    with suppress(OSError, RecordError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        content = {"sha256": _checksum(key, answer), "answer": answer}
        write_atomically(cache_folder() / f"{key}.json", json.dumps(content))


def _checksum(key: str, answer: Any) -> str:
    return fingerprint({"key": key, "answer": answer})
