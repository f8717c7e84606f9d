"""A browser's side of the widgets: a comm that keeps what a kernel sends, and a person who clicks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import comm
import ipywidgets
from comm.base_comm import BaseComm

from harness.wait import eventually


class RecordingComm(BaseComm):  # type: ignore[misc]  # comm is untyped
    """A comm whose messages are kept, none sent."""

    def __init__(self, **given: Any) -> None:
        self.messages: list[tuple[str, Any, list[bytes]]] = []
        super().__init__(**given)

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
    ) -> None:
        """What ipykernel would send."""
        self.messages.append((msg_type, data, [bytes(b) for b in buffers or []]))


class Tab:
    """A panel as one tab sees it."""

    def __init__(self, panel: Any) -> None:
        self.panel = panel
        self.comm: RecordingComm = panel.comm

    @property
    def updates(self) -> list[tuple[dict[str, Any], list[bytes]]]:
        """State that was sent after the panel was opened: what changed, and its buffers."""
        sent = [(data, buffers) for kind, data, buffers in self.comm.messages if kind == "comm_msg"]
        return [(data["state"], buffers) for data, buffers in sent if data.get("method") == "update"]

    @staticmethod
    def size(update: tuple[dict[str, Any], list[bytes]]) -> int:
        """Bytes of an update."""
        state, buffers = update
        return len(json.dumps(state)) + sum(map(len, buffers))

    def click(self, action: str, timeout: float = 30, **given: Any) -> dict[str, Any]:
        """Ask for an action, and the answer to it."""
        asked = f"{action}-{len(self.comm.messages)}"
        content = {"method": "custom", "content": {"action": action, "id": asked, "given": given}}
        self.panel._handle_msg({"content": {"data": content}, "buffers": []})

        def answer() -> Any:
            for kind, data, _ in list(self.comm.messages):
                if kind == "comm_msg" and data.get("method") == "custom" and data["content"].get("reply") == asked:
                    return data["content"]
            return None

        found: dict[str, Any] = eventually(answer, timeout=timeout, interval=0.01, what=f"{action} is answered")
        return found


@contextmanager
def looked_at() -> Iterator[None]:
    """Somebody looks: panels that are made in here have a tab, which is closed at the end."""
    with patch.object(comm, "create_comm", RecordingComm), patch.dict(os.environ, {"MODELYARD_PLAIN": "0"}):
        try:
            yield
        finally:
            ipywidgets.Widget.close_all()
