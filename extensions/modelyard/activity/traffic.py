"""What is sent by the notebook server, and what is asked of it that changes something."""

from __future__ import annotations

import time
import weakref
from typing import Any

from tornado.web import OutputTransform

_CHANGES = ("POST", "PUT", "PATCH", "DELETE")
BY_THEMSELVES = ("/modelyard/activity", "/lab/api/workspaces")
"""What pages send without anybody: JupyterLab saves its layout every ten seconds."""


class Traffic:
    """`changed`: when something was changed last, such as a file saved or a kernel started; 0 for never."""

    def __init__(self) -> None:
        self.changed = 0.0
        self._sending: weakref.WeakSet[Any] = weakref.WeakSet()

    def follow(self, web_app: Any) -> None:
        """See all answers of a Jupyter Server."""
        traffic = self

        class Seen(OutputTransform):  # type: ignore[misc]  # tornado is not followed
            def __init__(self, request: Any) -> None:
                traffic.note(request)

        web_app.add_transform(Seen)

    def note(self, request: Any) -> None:
        """A request whose answer begins."""
        if request.method in _CHANGES and not any(path in request.path for path in BY_THEMSELVES):
            self.changed = time.time()
        stream = getattr(request.connection, "stream", None)
        if stream is not None:
            self._sending.add(stream)

    def sending(self) -> int:
        """How many answers are still on their way, such as of files that are downloaded."""
        return sum(1 for stream in list(self._sending) if not stream.closed() and stream.writing())
