"""JupyterHub's configuration from our settings: `configure(c, settings)`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from traitlets import Unicode

from modelyard_api.names import owner_name
from modelyard_hub.auth import ADMIN, READ, WRITE
from modelyard_hub.embedded.home import load_secrets
from modelyard_hub.embedded.siblings import CLIENT_ID, SERVICE_PREFIX, hub_routes
from modelyard_hub.settings import Settings

CLI_SERVICE = "modelyard-cli"
_SERVER_SCOPES = [
    "users:activity!user",
    "access:servers!server",
    "read:users:name!user",
    "read:users:groups!user",
    f"{READ}!user",
    f"{WRITE}!user",
]


def configure(c: Any, settings: Settings) -> None:
    """Fill JupyterHub's config object `c`. Reads the hub's port and peers from the environment that `up` made."""
    secrets = load_secrets(settings.home)
    _hub(c, settings, secrets.cookie_secret)
    _sign_in(c, settings, secrets.user_password, secrets.admin_password)
    _proxy(c, settings)
    _roles(c, settings.admin_username)
    _services(c, secrets.service_token, secrets.cli_token)
    _spawner(c, settings)


def _hub(c: Any, settings: Settings, cookie_secret: str) -> None:
    port = int(os.environ["MODELYARD_HUB_PORT"])
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{port}"
    c.JupyterHub.bind_url = f"http://{settings.host}:{settings.port}"
    c.JupyterHub.db_url = f"sqlite:///{settings.home / 'jupyterhub.sqlite'}"
    c.JupyterHub.cookie_secret = bytes.fromhex(cookie_secret)
    c.JupyterHub.cleanup_servers = True
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.init_spawners_timeout = 5


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
        if owner_name(self.normalize_username(data["username"])) == owner_name(self.group):
            return None
        return await super().authenticate(handler, data)

    def add_user(self, user: Any) -> None:
        """JupyterHub calls this for each user when it learns of them, at sign-in or by its API."""
        super().add_user(user)
        group = orm.Group.find(user.db, self.group) or orm.Group(name=self.group)
        if group not in user.orm_user.groups:
            user.orm_user.groups.append(group)
        user.db.commit()


def _proxy(c: Any, settings: Settings) -> None:
    c.JupyterHub.proxy_class = "traefik_file"
    c.TraefikFileProviderProxy.should_start = False
    c.TraefikFileProviderProxy.enable_setup_dynamic_config = False
    c.TraefikFileProviderProxy.dynamic_config_file = str(hub_routes(settings))
    c.TraefikFileProviderProxy.traefik_api_url = settings.traefik_api_url
    c.TraefikFileProviderProxy.traefik_api_username = "unused"
    c.TraefikFileProviderProxy.traefik_api_password = "unused"
    c.TraefikFileProviderProxy.traefik_entrypoint = "web"


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


def _spawner(c: Any, settings: Settings) -> None:
    source = settings.notebooks or Path(__file__).parents[2] / "notebooks"
    users = settings.home / "users"
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = str(users / "{username}")
    c.Spawner.ip = "127.0.0.1"
    c.Spawner.default_url = "/lab/tree/notebooks/01-train-and-publish.ipynb"
    c.Spawner.server_token_scopes = _SERVER_SCOPES
    c.Spawner.oauth_client_allowed_scopes = [f"{READ}!user", f"{WRITE}!user"]
    c.Spawner.start_timeout = 60
    settings_dir = lab_settings(settings.home)
    c.Spawner.environment = {
        "MODELYARD_URL": settings.base_url,
        "JUPYTERLAB_SETTINGS_DIR": str(settings_dir / "user-settings"),
    }
    c.Spawner.args = [
        "--LabApp.news_url=",
        "--LabApp.extension_manager=readonly",
    ]
    if os.geteuid() == 0:  # in containers; the hub itself does not mind either
        c.Spawner.args.append("--allow-root")

    def place_notebooks(spawner: Any) -> None:
        copy_missing(source, users / spawner.user.name / "notebooks")
        spawner.notebook_dir = str(users / spawner.user.name)

    c.Spawner.pre_spawn_hook = place_notebooks
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}


def copy_missing(source: Path, target: Path) -> None:
    """Copy a folder's files where there are none: what somebody edited stays as it is."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            place = target / relative
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def lab_settings(home: Path) -> Path:
    """JupyterLab settings that ask no other host for news or updates."""
    folder = home / "lab"
    notify = folder / "user-settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    if not notify.exists():
        notify.parent.mkdir(parents=True, exist_ok=True)
        notify.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    return folder
