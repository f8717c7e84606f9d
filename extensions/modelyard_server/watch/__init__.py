"""What is told of each request where somebody wants to know: a record, its line in the access log, its spans."""

from __future__ import annotations

import sys

from modelyard_server.settings import ServerSettings
from modelyard_server.watch.observer import Observer, Watcher


def observe(settings: ServerSettings) -> Observer | None:
    """The observer that the settings ask for; None where nobody wants to know, and nothing is done for it."""
    watchers: list[Watcher] = []
    if settings.access_log:
        from modelyard_server.watch.access_log import AccessLog

        watchers.append(AccessLog(sys.stdout.fileno()))
    if settings.otlp_url:
        from modelyard_server.watch.traces import Traces

        watchers.append(Traces(settings, settings.otlp_url))
    return Observer(tuple(watchers)) if watchers else None
