"""JupyterHub's configuration from our settings: `configure(c, settings)`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.spawner import SimpleLocalProcessSpawner
from sqlalchemy.orm import object_session
from tornado.web import HTTPError
from traitlets import Unicode, default

from modelyard_api.names import owner_name
from modelyard_hub.auth import ADMIN, READ, WRITE
from modelyard_hub.embedded.home import load_secrets
from modelyard_hub.embedded.processes import NOTEBOOKS_OF
from modelyard_hub.embedded.siblings import CLIENT_ID, SERVICE_PREFIX
from modelyard_hub.jupyterhub_proxy import HubServiceProxy
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
    _proxy(c, secrets.service_token)
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


class FolderSpawner(SimpleLocalProcessSpawner):  # type: ignore[misc]  # as above
    """JupyterHub's spawner for users that are not users of this machine: a folder for each, named by their owner name.

    A user's name may hold what means something in a path.
    """

    users = Unicode(config=True, help="The folder of the users' folders.")

    @default("home_dir")  # type: ignore[untyped-decorator]
    def _owner_folder(self) -> str:
        return str(Path(self.users) / owner_name(self.user.name))


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
    c.JupyterHub.spawner_class = FolderSpawner
    c.FolderSpawner.users = str(users)
    # Not by name: the PATH of whoever typed `make up` does not hold this environment.
    c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
    c.Spawner.ip = "127.0.0.1"
    c.Spawner.default_url = "/lab/tree/notebooks/01-train-and-publish.ipynb"
    c.Spawner.server_token_scopes = _SERVER_SCOPES
    c.Spawner.oauth_client_allowed_scopes = [f"{READ}!user", f"{WRITE}!user"]
    c.Spawner.start_timeout = 60
    c.Spawner.environment = {
        "MODELYARD_URL": settings.base_url,
        NOTEBOOKS_OF: str(settings.home),
        "JUPYTER_CONFIG_PATH": str(lab_defaults(settings.home)),
    }
    c.Spawner.args = [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    if os.geteuid() == 0:  # in containers; the hub itself does not mind either
        c.Spawner.args.append("--allow-root")

    def place_notebooks(spawner: Any) -> None:
        copy_missing(source, Path(spawner.home_dir) / "notebooks")
        spawner.notebook_dir = spawner.home_dir

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


def lab_defaults(home: Path) -> Path:
    """A folder of Jupyter configuration: defaults that each user may change, and that ask no other host for news."""
    folder = home / "jupyter"
    path = folder / "labconfig" / "default_setting_overrides.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    notification = {"fetchNews": "false", "checkForUpdates": False}
    path.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": notification}))
    return folder
