"""`python -m modelyard_hub`: the hub service, where JupyterHub says it listens."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from modelyard_api.errors import ModelyardError
from modelyard_hub.app import create_app
from modelyard_hub.hub_env import HubEnv
from modelyard_hub.settings import Settings


def main() -> int:
    """Serve until SIGTERM; workloads go on. Exit code 1 with one line when it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("httpx", "alembic.runtime.plugins"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = Settings()
        hub = HubEnv.read(os.environ)
        app = create_app(settings, hub)
    except (ModelyardError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    named, port = hub.bind
    host = settings.listen or named
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # the audit reads X-Forwarded-For itself, its last hop only
        server_header=False,
        timeout_graceful_shutdown=2,  # event streams never end by themselves
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
