"""The port that is open before the server is there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from harness.model_server import free_port
from harness.wait import eventually
from harness.web import serving
from modelyard.singleuser.listening import listen

PREFIX = "/user/ada/"


def url(port: int, host: str = "127.0.0.1") -> dict[str, str]:
    return {"JUPYTERHUB_SERVICE_URL": f"http://{host}:{port}{PREFIX}"}


def test_it_takes_connections_at_once() -> None:
    port = free_port()
    early = listen(url(port))
    assert early is not None
    assert (early.host, early.port) == ("127.0.0.1", port)
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        pass
    for one in early.sockets:
        one.close()


def test_without_a_host_it_is_every_address_of_the_machine() -> None:
    port = free_port()
    early = listen(url(port, host=""))
    assert early is not None
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        pass
    for one in early.sockets:
        one.close()


def test_a_port_that_is_taken_or_not_named_is_left_to_the_server() -> None:
    assert listen({}) is None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert listen(url(taken.getsockname()[1])) is None


def test_who_asks_before_the_server_is_there_is_answered_by_it(tmp_path: Path) -> None:
    """One call, begun while the server imports, that is never refused."""
    hub = Starlette(routes=[Route("/hub/api", lambda _: JSONResponse({"version": "6.1.1"}))])
    port = free_port()
    with serving(hub) as address:
        environment = {
            **os.environ, **url(port), "HOME": str(tmp_path), "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
            "JUPYTERHUB_API_URL": f"{address}/hub/api", "JUPYTERHUB_API_TOKEN": "t", "JUPYTERHUB_USER": "ada",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ada", "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
        }  # fmt: skip
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.singleuser", "--allow-root"],
                env=environment, cwd=tmp_path, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            eventually(lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() is None, timeout=20)
            assert "Jupyter Server" not in (tmp_path / "log").read_text(), "it was not early"
            answer = httpx.get(f"http://127.0.0.1:{port}{PREFIX}api", timeout=60)
            assert answer.status_code == 200
            assert answer.headers["x-jupyterhub-version"]
            # The extensions of the stock server, and JupyterHub's sign-in.
            assert httpx.get(f"http://127.0.0.1:{port}{PREFIX}lab", timeout=20).status_code == 302
            said = (tmp_path / "log").read_text()
            for name in ("jupyterhub", "jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook"):
                assert f"{name} | extension was successfully loaded" in said
            assert "modelyard.notebook_server | extension was successfully loaded" in said
        finally:
            process.terminate()
            process.wait(30)
