"""`python -m modelyard_server`: load the package, listen, drain on SIGTERM.

Exit codes: 0 stopped, 2 wrong settings, 3 the package cannot be loaded, 4 the port is in use.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import socket
import sys
import traceback

import uvicorn
from pydantic import ValidationError

from modelyard_server.app import App
from modelyard_server.dataplane import load
from modelyard_server.settings import ServerSettings

EXIT_SETTINGS, EXIT_PACKAGE, EXIT_PORT = 2, 3, 4


class _Server(uvicorn.Server):
    """Turns readiness off as soon as a signal comes, before connections are closed."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: object) -> None:
        # Not handed on: uvicorn raises the signal again at the end, and a server that drained has exit code 0.
        self._app.draining = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = ServerSettings.from_environment()
    except ValidationError as error:
        print(f"wrong settings: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_SETTINGS
    try:
        listener = socket.create_server((settings.host, settings.port), backlog=1024)
    except OSError as error:
        print(f"cannot listen on {settings.host}:{settings.port}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_PORT if error.errno == errno.EADDRINUSE else EXIT_SETTINGS
    try:
        plane = load(settings.package, settings.threads)
    except Exception:
        traceback.print_exc()
        return EXIT_PACKAGE
    app = App(settings, plane)
    config = uvicorn.Config(
        app, access_log=False, log_config=None, timeout_graceful_shutdown=max(1, math.ceil(settings.drain_timeout))
    )
    server = _Server(config, app)
    logging.info("serving %s version %s (%s)", settings.model, settings.version, plane.manifest.flavor)
    server.run(sockets=[listener])
    logging.info("stopped")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the interpreter would wait for the model's thread, which may never return.
    os._exit(status)
