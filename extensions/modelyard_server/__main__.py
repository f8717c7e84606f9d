"""`python -m modelyard_server`: load the package, listen, drain on SIGTERM.

Exit codes: 0 stopped, 2 wrong settings, 3 the package cannot be loaded, 4 the port is in use.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import traceback

import uvloop
from pydantic import ValidationError

from modelyard_api.names import REVISION_HEADER
from modelyard_server.app import App
from modelyard_server.dataplane import DataPlane, load
from modelyard_server.pace import warm
from modelyard_server.settings import ServerSettings
from modelyard_server.web.listener import Limits, Listener

EXIT_SETTINGS, EXIT_PACKAGE, EXIT_PORT = 2, 3, 4
_SWITCH = 0.0005
"""Seconds. How long a model that is Python may keep other threads waiting; a tenth of the interpreter's default."""


async def serve(settings: ServerSettings, plane: DataPlane, listening: socket.socket) -> None:
    """Until SIGTERM or SIGINT: then readiness goes off, no more connections are taken, and what has begun is answered.

    A second SIGINT ends at once."""
    app = App(settings, plane, warm(plane))
    limits = Limits(body=settings.max_body, connections=settings.max_connections, patience=settings.patience)
    revision = (REVISION_HEADER.lower().encode(), str(settings.revision).encode())
    listener = Listener(app, limits, (revision,))
    app.bind(listener)
    loop = asyncio.get_running_loop()
    ended, forced = asyncio.Event(), asyncio.Event()

    def end(signum: int) -> None:
        if ended.is_set() and signum == signal.SIGINT:
            forced.set()
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end, signum)
    await listener.listen(listening)
    await ended.wait()
    draining = asyncio.create_task(listener.drain(settings.drain_timeout), name="drain")
    hurry = asyncio.create_task(forced.wait(), name="hurry")
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, hurry):
        task.cancel()
    await app.close()


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
        plane = load(settings.package, settings.threads, settings.device)
    except Exception:
        traceback.print_exc()
        return EXIT_PACKAGE
    how = (plane.manifest.flavor, plane.device)
    logging.info("serving %s version %s (%s, %s)", settings.model, settings.version, *how)
    sys.setswitchinterval(_SWITCH)
    uvloop.run(serve(settings, plane, listener))
    logging.info("stopped")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the interpreter would wait for the model's thread, which may never return.
    os._exit(status)
