"""A real JupyterHub with our spawner of processes. Its notebook servers are a few lines that answer when they may."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from harness.model_server import free_port
from harness.pod_hub import NOWHERE, PodHub
from harness.wait import eventually

_SERVER = '''
"""Says that it was started, and answers everything once there is a file `go`, or one of its user's name."""
import http.server, os, sys, threading, urllib.parse
from pathlib import Path

folder, user = Path(sys.argv[1]), os.environ["JUPYTERHUB_USER"]
with (folder / "started").open("a") as log:
    log.write(user + "\\n")

class Anything(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_):
        pass

pause = threading.Event()
while not any((folder / name).exists() for name in ("go", "go-" + user)):
    pause.wait(0.05)
port = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port
http.server.ThreadingHTTPServer(("127.0.0.1", port), Anything).serve_forever()
'''
_CONFIG = f"""
import json, os, sys
from pathlib import Path
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.local import configure_processes
{NOWHERE}
given = json.loads(Path(os.environ["POD_HUB"]).read_text())
configure_processes(c, Settings(home=given["folder"], runtime="local", **given["settings"]))
c.Spawner.cmd, c.Spawner.args = [sys.executable, given["folder"] + "/server.py", given["folder"]], []
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server"]
c.Spawner.oauth_client_allowed_scopes = []
c.JupyterHub.proxy_class = Nowhere
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.hub_bind_url = given["url"]
c.JupyterHub.bind_url = given["public"]
c.JupyterHub.db_url = "sqlite:///" + given["folder"] + "/hub.sqlite"
c.JupyterHub.cookie_secret_file = given["folder"] + "/cookie"
c.JupyterHub.init_spawners_timeout = 1
c.Spawner.http_timeout = given["http_timeout"]
c.JupyterHub.authenticate_prometheus = False
c.JupyterHub.custom_scopes = {{"custom:modelyard:admin": {{"description": "All servers"}}}}
scopes = ["admin:users", "admin:groups", "admin:servers", "tokens", "custom:modelyard:admin"]
c.JupyterHub.load_roles.append({{"name": "test", "scopes": scopes, "services": ["test"]}})
c.JupyterHub.services.append({{"name": "test", "api_token": given["token"]}})
c.JupyterHub.load_roles.append({{"name": "lists", "scopes": ["list:users"], "services": ["lists"]}})
c.JupyterHub.services.append({{"name": "lists", "api_token": given["token"] + "-lists"}})
"""


@dataclass
class LocalHub(PodHub):
    """A JupyterHub whose state is in a folder, and its users' servers on this machine."""

    def may_answer(self, user: str = "") -> None:
        """Let a user's server, or all, answer from now on."""
        (self.folder / (f"go-{user}" if user else "go")).touch()

    @property
    def started(self) -> list[str]:
        """Users whose servers were started, in order."""
        path = self.folder / "started"
        return path.read_text().split() if path.exists() else []

    def servers(self) -> list[psutil.Process]:
        """The processes of its notebook servers."""
        mine = [sys.executable, str(self.folder / "server.py"), str(self.folder)]
        return [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == mine]


@contextmanager
def running(folder: Path, *, http_timeout: int = 30, **settings: Any) -> Iterator[LocalHub]:
    """A JupyterHub with these settings, which gives a server so many seconds to answer. At its end none is left."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jupyterhub_config.py").write_text(_CONFIG)
    (folder / "server.py").write_text(_SERVER)
    url, token = f"http://127.0.0.1:{free_port()}", secrets.token_hex(16)
    public = f"http://127.0.0.1:{free_port()}"
    given = {"settings": settings, "url": url, "public": public, "token": token, "folder": str(folder)}
    (folder / "given.json").write_text(json.dumps({**given, "http_timeout": http_timeout}))
    hub = LocalHub(url, token, folder)
    hub.begin(Path(os.devnull))
    try:
        yield hub
    finally:
        hub.end()
        for process in hub.servers():
            process.kill()
        eventually(lambda: not hub.servers(), timeout=10, what="no server is left")
