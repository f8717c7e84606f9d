"""`python -m modelyard_server`: load the package, listen, drain on SIGTERM.

Exit codes: 0 stopped, 2 wrong settings, 3 the package cannot be loaded, 4 the port is in use,
5 the model did not load in time.
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
from typing import TYPE_CHECKING

import uvloop
from pydantic import ValidationError

from modelyard_api.errors import Conflict, TimedOut
from modelyard_api.names import EXIT_LOAD_TIMEOUT, REVISION_HEADER
from modelyard_server import heap
from modelyard_server.app import App
from modelyard_server.loading import Loaded, prepared, ready
from modelyard_server.settings import ServerSettings
from modelyard_server.swap import Swapper
from modelyard_server.watch import observe
from modelyard_server.watch.observed import Observed
from modelyard_server.watch.observer import Observer
from modelyard_server.web.listener import Limits, Listener
from modelyard_server.workers.pool import Pool

if TYPE_CHECKING:
    from modelyard_server.rpc.server import RpcServer

EXIT_SETTINGS, EXIT_PACKAGE, EXIT_PORT = 2, 3, 4
_EXTRAS = "gRPC needs the extra serving-grpc, traces need serving-traces"
_SWITCH = 0.0005
"""Seconds. How long a model that is Python may keep other threads waiting; a tenth of the interpreter's default."""


async def serve(settings: ServerSettings, loaded: Loaded, listening: socket.socket) -> int:
    """Until SIGTERM or SIGINT: then readiness goes off, no more connections are taken, and what has begun is answered.

    A second SIGINT ends at once; SIGHUP serves what the package's path is now. The exit code: 0, or that of a package
    that none of its processes could load."""
    pool = loaded.model if isinstance(loaded.model, Pool) else None
    if pool is not None:
        pool.start()
    app = App(settings, loaded)
    swapper = Swapper(lambda: ready(settings), app.switch)
    app.not_served = lambda: swapper.refused
    limits = Limits(body=settings.max_body, connections=settings.max_connections, patience=settings.patience)
    revision = (REVISION_HEADER.lower().encode(), str(settings.revision).encode())
    observer = observe(settings)
    listener = Listener(app if observer is None else Observed(app, observer), limits, (revision,))
    app.bind(listener)
    rpc = await _start_rpc(app, listener, observer)
    loop = asyncio.get_running_loop()
    ended, forced = asyncio.Event(), asyncio.Event()

    def end(signum: int) -> None:
        if ended.is_set() and signum == signal.SIGINT:
            forced.set()
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end, signum)
    loop.add_signal_handler(signal.SIGHUP, swapper.ask)
    await listener.listen(listening)
    importing = asyncio.create_task(asyncio.to_thread(_import_rest, settings), name="imports")
    await _first(ended, *((pool.broken,) if pool is not None else ()))
    importing.cancel()
    drains = [transport.drain(settings.drain_timeout) for transport in (listener, rpc) if transport is not None]
    draining = asyncio.create_task(asyncio.wait(map(asyncio.ensure_future, drains)), name="drain")
    hurry = asyncio.create_task(forced.wait(), name="hurry")
    await swapper.close()  # beside the drain: a version that is being loaded does not keep this one ready
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, hurry):
        task.cancel()
    await app.close()
    if observer is not None:
        await observer.close()
    return 0 if pool is None or pool.failure is None else _exit_code(pool.failure)


def _exit_code(failure: Exception) -> int:
    return EXIT_LOAD_TIMEOUT if isinstance(failure, TimedOut) else EXIT_PACKAGE


async def _start_rpc(app: App, listener: Listener, observer: Observer | None) -> RpcServer | None:
    """The server of gRPC, where a port is set for it."""
    port = app.parts.settings.grpc_port
    if port is None:
        return None
    from modelyard_server.rpc.server import RpcServer

    rpc = RpcServer(lambda: app.parts, observer)
    await rpc.start(port)
    app.parts.metrics.in_flight = lambda: listener.in_flight + rpc.service.in_flight
    return rpc


def _import_rest(settings: ServerSettings) -> None:
    """What the first call with a token and the first scrape need, once the server is ready: a fifth of its imports."""
    if settings.access is not None:
        import jwt  # noqa: F401
    import modelyard_server.exposition  # noqa: F401


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def main() -> int:
    # A container's first process ends by it only where it says so; until it serves, there is nothing to finish.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
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
        loaded = prepared(settings)
    except Exception as error:
        traceback.print_exc()
        return _exit_code(error)
    logging.info("serving %s version %s (%s)", settings.model, loaded.version, loaded.model.manifest.flavor)
    sys.setswitchinterval(_SWITCH)
    heap.keep()  # not before: what loading took and freed is given back
    try:
        status = uvloop.run(serve(settings, loaded, listener))
    except ModuleNotFoundError as error:
        print(f"no {error.name} here: {_EXTRAS}", file=sys.stderr)  # noqa: T201
        return EXIT_SETTINGS
    except Conflict as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_PORT
    logging.info("stopped")
    return status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the interpreter would wait for the model's thread, which may never return.
    os._exit(status)
