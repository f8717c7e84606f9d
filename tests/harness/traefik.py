"""A real Traefik that pulls its routes from a document which the test holds."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from harness.wait import eventually

ENVIRONMENT = Path(sys.executable).parent


def free_port() -> int:
    """A port that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Web:
    """An HTTP server in a thread: `answer(path, headers)` gives status, headers and body. `close` ends it."""

    def __init__(self, answer: Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, body = answer(self.path, {k.lower(): v for k, v in self.headers.items()})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Traefik resets idle connections when it ends."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def echo(name: str) -> Web:
    """A server that answers its name, and what it was asked, as JSON."""

    def answer(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        body: dict[str, Any] = {"server": name, "path": path, "headers": headers}
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    return Web(answer)


class RealTraefik:
    """Traefik from this environment with an HTTP provider; `document()` gives the text that it pulls, None: 503."""

    def __init__(self, folder: Path, document: Callable[[], str | None]) -> None:
        self._document = document
        self.provider = Web(self._answer)
        self.api_url = f"http://127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}"
        binary = ENVIRONMENT / "traefik"
        program = str(binary) if binary.exists() else shutil.which("traefik")
        assert program, "traefik is not installed"
        arguments = [
            f"--entrypoints.web.address={self.url.removeprefix('http://')}",
            f"--entrypoints.traefik.address={self.api_url.removeprefix('http://')}",
            "--api.insecure=true",
            "--api.dashboard=false",
            f"--providers.http.endpoint={self.provider.url}/routing",
            "--providers.http.pollInterval=100ms",
            "--providers.providersThrottleDuration=50ms",
            "--log.level=WARN",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ]
        self.log = folder / "traefik.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [program, *arguments], cwd=folder, stdout=output, stderr=output, env={"PATH": os.environ["PATH"]}
            )
        eventually(lambda: httpx.get(f"{self.api_url}/api/overview", trust_env=False), timeout=20, what="Traefik")

    def _answer(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        text = self._document()
        return (503, {}, b"") if text is None else (200, {"Content-Type": "application/json"}, text.encode())

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.provider.close()
