"""JupyterHub's configuration from our settings: `configure(c, settings)`."""

from __future__ import annotations

import os
import sys
from typing import Any

from jupyterhub import orm
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from sqlalchemy.orm import object_session
from tornado.web import HTTPError
from traitlets import Unicode

from modelyard_api.names import owner_name
from modelyard_hub import jupyterhub_store
from modelyard_hub.auth import ADMIN, READ, WRITE
from modelyard_hub.embedded.home import secrets_of
from modelyard_hub.embedded.siblings import CLIENT_ID, SERVICE_PREFIX
from modelyard_hub.jupyterhub_proxy import HubServiceProxy
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.local import configure_processes

CLI_SERVICE = "modelyard-cli"
CULLER = "modelyard-culler"


def configure(c: Any, settings: Settings) -> None:
    """Fill JupyterHub's config object `c`. Reads the hub's port and peers from the environment that `up`, or the pod's
    manifest, made."""
    secrets = secrets_of(settings)
    _hub(c, settings, secrets.cookie_secret)
    _sign_in(c, settings, secrets.user_password, secrets.admin_password)
    _proxy(c, secrets.service_token)
    _roles(c, settings.admin_username)
    _services(c, secrets.service_token, secrets.cli_token)
    if settings.cull:
        _culler(c, settings)
    jupyterhub_store.begin()
    if settings.runtime == "kubernetes":
        # KubeSpawner takes a second to import, and is not there where only processes are run.
        from modelyard_hub.spawner.kubernetes import configure_pods

        configure_pods(c, settings)
    else:
        configure_processes(c, settings)
    if settings.base_url.startswith("https:"):
        # JupyterHub marks all its other cookies by itself.
        c.JupyterHub.tornado_settings = {**c.JupyterHub.tornado_settings, "xsrf_cookie_kwargs": {"secure": True}}


def further(settings: Settings) -> list[str]:
    """Files of further configuration, in the order in which they are read."""
    return [] if settings.hub_config is None else sorted(str(path) for path in settings.hub_config.glob("*.py"))


def _hub(c: Any, settings: Settings, cookie_secret: str) -> None:
    port = int(os.environ["MODELYARD_HUB_PORT"])
    c.JupyterHub.hub_bind_url = f"http://{settings.listen or '127.0.0.1'}:{port}"
    c.JupyterHub.bind_url = f"http://{settings.host}:{settings.port}"
    c.JupyterHub.db_url = settings.hub_store_url
    c.JupyterHub.cookie_secret = bytes.fromhex(cookie_secret)
    c.JupyterHub.cleanup_servers = settings.runtime == "local"
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.init_spawners_timeout = 5
    if settings.hub_url:
        c.JupyterHub.hub_connect_url = settings.hub_url
    if settings.hub_database_url.get_secret_value():
        c.JupyterHub.upgrade_db = True  # an image brings its schema; saving the database is for who keeps it


def _sign_in(c: Any, settings: Settings, user_password: str, admin_password: str) -> None:
    c.JupyterHub.authenticator_class = TeamAuthenticator
    c.TeamAuthenticator.group = settings.group
    c.TeamAuthenticator.user_password = user_password
    c.TeamAuthenticator.admin_password = admin_password
    c.TeamAuthenticator.allow_all = True
    c.TeamAuthenticator.admin_users = {settings.admin_username}


class TeamAuthenticator(SharedPasswordAuthenticator):  # type: ignore[misc]  # JupyterHub is untyped
    """JupyterHub's shared-password authenticator, whose users all belong to one group."""

    group = Unicode(config=True, help="The group that every user joins.")

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Refuses a user of the group's name, who would own what belongs to the group."""
        name = self.normalize_username(data["username"])
        if self._is_group(name):
            raise HTTPError(403, f"{name!r} is the name of a group; sign in with a name of your own")
        return await super().authenticate(handler, data)

    def validate_username(self, username: str) -> bool:
        """As JupyterHub's, also where an administrator makes the user."""
        return bool(super().validate_username(username)) and not self._is_group(username)

    def _is_group(self, username: str) -> bool:
        return owner_name(username) == owner_name(self.group)

    def add_user(self, user: Any) -> None:
        """JupyterHub calls this for each user when it learns of them, at sign-in or by its API."""
        super().add_user(user)
        row = getattr(user, "orm_user", user)  # at the hub's start it comes without its wrapper
        session: Any = object_session(row)
        group = orm.Group.find(session, self.group) or orm.Group(name=self.group)
        if group not in row.groups:
            row.groups.append(group)
        session.commit()


def _proxy(c: Any, service_token: str) -> None:
    c.JupyterHub.proxy_class = HubServiceProxy
    c.HubServiceProxy.routes_url = f"{os.environ['JUPYTERHUB_SERVICE_URL']}{SERVICE_PREFIX}internal/hub-routes"
    c.HubServiceProxy.token = service_token


def _roles(c: Any, admin: str) -> None:
    c.JupyterHub.custom_scopes = {
        READ: {"description": "See endpoints and call those that are shared with you"},
        WRITE: {"description": "Publish, change and delete endpoints of yours and of your groups"},
        ADMIN: {"description": "See and change everybody's endpoints"},
    }
    reach = f"access:services!service={SERVICE_PREFIX.strip('/').rpartition('/')[2]}"
    c.JupyterHub.load_roles = [
        {"name": "user", "scopes": ["self", f"{READ}!user", f"{WRITE}!user", reach]},
        {"name": "modelyard-admin", "scopes": [READ, WRITE, ADMIN], "users": [admin]},
        {"name": "modelyard-cli", "scopes": ["admin:users", "tokens", "list:users", READ, WRITE, ADMIN],
         "services": [CLI_SERVICE]},
        {"name": "modelyard-service", "services": ["modelyard"],
         "scopes": ["read:metrics", "read:servers", "list:users", "read:users:groups", "tokens", READ, WRITE]},
    ]  # fmt: skip


def _services(c: Any, service_token: str, cli_token: str) -> None:
    c.JupyterHub.services = [
        {
            "name": "modelyard",
            "url": os.environ["JUPYTERHUB_SERVICE_URL"],
            "api_token": service_token,
            "oauth_client_id": CLIENT_ID,
            "oauth_redirect_uri": f"{SERVICE_PREFIX}oauth_callback",
            "oauth_client_allowed_scopes": [f"{READ}!user", f"{WRITE}!user", ADMIN],
            "oauth_no_confirm": True,
        },
        {"name": CLI_SERVICE, "api_token": cli_token, "display": False},
    ]


def _culler(c: Any, settings: Settings) -> None:
    """JupyterHub starts it, and again where it ends."""
    router = settings.inner_url or f"http://{settings.host}:{settings.port}"
    seconds = {
        "idle": settings.cull_idle,
        "countdown": settings.cull_countdown,
        "keep": settings.cull_keep,
        "keep-limit": settings.cull_keep_limit,
    }
    arguments = [f"--{name}={value}" for name, value in seconds.items()]
    command = [sys.executable, "-m", "modelyard_hub.culling", f"--router={router}", *arguments]
    c.JupyterHub.services.append({"name": CULLER, "command": command, "display": False})
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers", "tokens"]
    c.JupyterHub.load_roles.append({"name": CULLER, "scopes": scopes, "services": [CULLER]})
