"""What all notebook servers have in common, whatever runs them."""

from __future__ import annotations

from typing import Any

from modelyard_hub.auth import READ, WRITE
from modelyard_hub.settings import Settings
from modelyard_hub.spawner import accounts_api, deleting
from modelyard_hub.spawner.listening import when_it_listens
from modelyard_hub.spawner.queueing import resume
from modelyard_hub.spawner.queueing.queue import Queue
from modelyard_hub.spawner.queueing.turns import Limits
from modelyard_hub.spawner.resize import sizes_api

SERVER_SCOPES = [
    "users:activity!user",
    "access:servers!server",
    "read:users:name!user",
    "read:users:groups!user",
    f"{READ}!user",
    f"{WRITE}!user",
]
LAB_ARGUMENTS = [
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
]


def common(c: Any, settings: Settings) -> None:
    """Fill JupyterHub's config object `c`."""
    when_it_listens(deleting.guard)
    when_it_listens(sizes_api.install)
    when_it_listens(accounts_api.install)
    c.JupyterHub.allow_named_servers = settings.named_servers > 0
    c.JupyterHub.named_server_limit_per_user = settings.named_servers
    c.Spawner.args = LAB_ARGUMENTS
    c.Spawner.default_url = "/lab/tree/notebooks/01-train-and-publish.ipynb"
    c.Spawner.server_token_scopes = SERVER_SCOPES
    c.Spawner.oauth_client_allowed_scopes = [f"{READ}!user", f"{WRITE}!user"]
    # What is refused at once is answered as such, not as a start that fails: to a form as long as it waits anyway.
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1}


def queued(c: Any, settings: Settings, starting: int) -> None:
    """Fill JupyterHub's config object `c`: beyond limits servers wait. `starting`: where the settings do not say it."""
    # JupyterHub's own limits refuse.
    c.JupyterHub.concurrent_spawn_limit = c.JupyterHub.active_server_limit = 0
    at_once = starting if settings.concurrent_starts is None else settings.concurrent_starts
    queue = Queue(Limits(at_once, settings.active_servers, settings.group_shares))
    c.Spawner.queue = queue
    resume.begin(c, queue)
