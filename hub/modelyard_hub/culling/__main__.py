"""`python -m modelyard_hub.culling`: JupyterHub's idle culler with our arbiter, as JupyterHub's managed service.

It reads JUPYTERHUB_API_URL and JUPYTERHUB_API_TOKEN, which JupyterHub gives it.
"""

from __future__ import annotations

import argparse
import logging
import os

import httpx
from jupyterhub_idle_culler import IdleCuller

from modelyard_hub.culling.arbiter import Arbiter
from modelyard_hub.culling.policy import Limits
from modelyard_hub.culling.tokens import Tokens


def main() -> None:
    """Until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, words in (
        ("idle", "seconds without work after which a server is ended"),
        ("countdown", "seconds before, from which on its user is told"),
        ("keep", "seconds for which its user may have it kept"),
        ("keep-limit", "seconds after the last work from which on it may not"),
    ):
        parser.add_argument(f"--{name}", type=float, required=True, help=words)
    parser.add_argument("--router", required=True, help="URL below which servers answer")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = Limits(given.idle, given.countdown, given.keep, given.keep_limit)
    # Both are near: a proxy of the environment has no business in between. What goes to servers is a client of its own,
    # which does not know the service's token.
    http = httpx.AsyncClient(headers={"Content-Type": "application/json"}, timeout=10, trust_env=False)
    headers = {"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"}
    hub = httpx.AsyncClient(base_url=os.environ["JUPYTERHUB_API_URL"], headers=headers, timeout=10, trust_env=False)
    culler = IdleCuller(timeout=round(limits.idle), cull_every=round(every(limits)), config_file="")
    culler.cull_arbiter_hook = Arbiter(http, Tokens(hub), given.router, limits)  # not by configuration, which is copied
    culler.start()


def every(limits: Limits) -> float:
    """Seconds between two looks at JupyterHub's list of servers."""
    return min(60.0, max(1.0, min(limits.idle, limits.countdown) / 4))


if __name__ == "__main__":
    main()
