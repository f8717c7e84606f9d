"""What panels of a published endpoint share: how others call it, and its keys."""

from __future__ import annotations

from typing import Any

from modelyard.handle import Endpoint
from modelyard.loop import run
from modelyard.widgets.base import Panel
from modelyard.widgets.snippets import snippets


class CallsPanel(Panel):
    """A panel of an endpoint. A key's secret is in the answer to its creation alone: in no trait, so in no saved
    notebook."""

    endpoint: Endpoint | None

    def on_snippets(self) -> dict[str, str]:
        """How others call it."""
        return run(snippets(self.shown().remote))

    def on_keys(self) -> list[dict[str, Any]]:
        """The keys, without their secrets."""
        return [key.model_dump(mode="json", exclude={"secret"}) for key in run(self.shown().remote.keys())]

    def on_create_key(self, name: str, days: int | None = None) -> dict[str, Any]:
        """A new key, with its secret."""
        return self.shown().create_key(name, None if days is None else days * 86400).model_dump(mode="json")

    def on_remove_key(self, id: str) -> None:
        """A key that works no longer."""
        self.shown().remove_key(id)

    def shown(self) -> Endpoint:
        """The endpoint."""
        assert self.endpoint is not None  # the front end offers these actions only where there is one
        return self.endpoint
