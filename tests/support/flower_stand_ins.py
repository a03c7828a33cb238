"""Stand-ins of the Flower types that the exported app uses, and a grid that runs its nodes.

They hold values as Flower's do, and check what Flower checks of them. The app's files run unchanged
with them; ``make check-flower`` runs the same files in Flower itself.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

_SCALARS = (bool, bytes, float, int, str)


class ConfigRecord(dict):
    def __init__(self, values: dict[str, Any] | None = None) -> None:
        for value in (values or {}).values():
            assert isinstance(value, _SCALARS), type(value)
        super().__init__(values or {})


class MetricRecord(dict):
    def __init__(self, values: dict[str, Any] | None = None) -> None:
        for value in (values or {}).values():
            assert isinstance(value, int | float), type(value)
        super().__init__(values or {})


class Array:
    def __init__(self, values: np.ndarray) -> None:
        self._values = values.copy()

    def numpy(self) -> np.ndarray:
        return self._values.copy()


class ArrayRecord(dict):
    def __init__(self, arrays: dict[str, Array] | None = None) -> None:
        super().__init__(arrays or {})


class RecordDict(dict):
    @property
    def config_records(self) -> dict[str, ConfigRecord]:
        return {key: value for key, value in self.items() if isinstance(value, ConfigRecord)}

    @property
    def array_records(self) -> dict[str, ArrayRecord]:
        return {key: value for key, value in self.items() if isinstance(value, ArrayRecord)}


class Message:
    def __init__(
        self,
        content: RecordDict | None = None,
        *,
        dst_node_id: int = 0,
        message_type: str = "",
        group_id: str = "",
        reply_to: Message | None = None,
        error: str = "",
    ) -> None:
        self.content, self.group_id = content, group_id
        self.error = SimpleNamespace(reason=error)
        asked = reply_to.metadata if reply_to else None
        self.metadata = SimpleNamespace(
            dst_node_id=dst_node_id,
            src_node_id=asked.dst_node_id if asked else 1,
            message_type=asked.message_type if asked else message_type,
        )

    def has_error(self) -> bool:
        return bool(self.error.reason)


@dataclass
class Context:
    node_config: dict[str, Any] = field(default_factory=dict)
    run_config: dict[str, Any] = field(default_factory=dict)
    state: RecordDict = field(default_factory=RecordDict)


class _App:
    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Callable[[], Callable[..., Any]]:
        if name not in ("main", "train", "evaluate", "query"):
            raise AttributeError(name)

        def keep(function: Callable[..., Any]) -> Callable[..., Any]:
            self.functions[name] = function
            return function

        return lambda: keep


class Strategy:
    def start(
        self, grid: Any, initial_arrays: ArrayRecord, num_rounds: int, timeout: float
    ) -> None:
        for number in range(1, num_rounds + 1):
            asked = self.configure_train(number, initial_arrays, ConfigRecord(), grid)
            replies = grid.send_and_receive(asked, timeout=timeout)
            self.aggregate_train(number, replies)
            asked = self.configure_evaluate(number, initial_arrays, ConfigRecord(), grid)
            self.aggregate_evaluate(number, grid.send_and_receive(asked, timeout=timeout))


@dataclass
class Grid:
    """Nodes of an app in this process; replies come in the order of ``arrange``."""

    client_app: Any
    contexts: dict[int, Context]
    arrange: Callable[[list[Message]], list[Message]] = lambda replies: replies[::-1]
    sent: list[Message] = field(default_factory=list)
    received: list[Message] = field(default_factory=list)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float) -> list[Message]:
        asked = list(messages)
        assert asked == list(messages), "a grid goes through the messages twice"
        replies = [self._answer(message) for message in asked]
        self.sent += asked
        self.received += replies
        return self.arrange(replies)

    def _answer(self, message: Message) -> Message:
        context = self.contexts[message.metadata.dst_node_id]
        try:
            functions = self.client_app.functions
            return functions[message.metadata.message_type](message, context)
        except Exception as error:
            return Message(reply_to=message, error=f"{type(error)}:<'{error}'>")


@contextmanager
def stand_in_modules(monkeypatch: pytest.MonkeyPatch, version: str = "1.42.0") -> Iterator[None]:
    """Make ``flwr`` importable for the block, as the stand-ins of this module."""
    here = sys.modules[__name__]
    names = {
        "flwr": (),
        "flwr.app": ("Array", "ArrayRecord", "ConfigRecord", "Context", "Message", "MetricRecord",
                     "RecordDict"),
        "flwr.serverapp": ("Grid",),
        "flwr.serverapp.strategy": ("Strategy",),
        "flwr.clientapp": (),
    }  # fmt: skip
    known = importlib.metadata.version
    with monkeypatch.context() as patch:
        for name, types in names.items():
            module = ModuleType(name)
            for type_ in types:
                setattr(module, type_, getattr(here, type_))
            patch.setitem(sys.modules, name, module)
        sys.modules["flwr.serverapp"].ServerApp = _App  # type: ignore[attr-defined]
        sys.modules["flwr.clientapp"].ClientApp = _App  # type: ignore[attr-defined]
        patch.setattr(
            "floss_sim.deployment.framework.version",
            lambda name: version if name == "flwr" else known(name),
        )
        yield


@contextmanager
def loaded_app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """Yield server_app and client_app of an exported app, with the stand-ins."""
    with stand_in_modules(monkeypatch):
        monkeypatch.syspath_prepend(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "floss_app"]:
            monkeypatch.delitem(sys.modules, name)
        from floss_app import client_app, server_app  # type: ignore[import-not-found]

        try:
            yield server_app, client_app
        finally:
            for name in [name for name in sys.modules if name.split(".")[0] == "floss_app"]:
                del sys.modules[name]
