"""A model server that misbehaves on purpose: a real process, real HTTP, the real environment variables and signals.

The first argument names a folder; a file in it named after a misbehaviour switches it on for all replicas, now or
later, and its text is the argument (`crash-after`: requests); the variable MISBEHAVE switches one on for a process.
`/switches` tells which are on, whatever they do. Without any it behaves: answers `/v2/health/ready`, echoes what it was
asked and told, drains at SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EXIT_LOAD_TIMEOUT = 5
"""As `modelyard_api.names` has it: pods have nothing but this file."""
switches = Path(sys.argv[1])
process = uuid.uuid4().hex
served = 0
eaten: list[bytearray] = []


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def switched(name: str) -> str | None:
    if os.environ.get("MISBEHAVE") == name:
        return ""
    try:
        return (switches / name).read_text()
    except FileNotFoundError:
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        global served
        if self.path == "/switches":
            self._answer(sorted(p.name for p in switches.glob("[a-z]*")))
            return
        if switched("hang") is not None:
            time.sleep(3600)
        health = self.path.startswith("/v2/health/")
        if self.path == "/slow":
            say("slow begins")
            time.sleep(0.5)
        status = 503 if health and switched("never-ready") is not None else 200
        access = os.environ.get("MODELYARD_SERVER_ACCESS")
        document = {
            "pid": os.getpid(),
            "process": process,
            "path": self.path,
            "headers": {k.lower(): v for k, v in self.headers.items()},
            "environment": dict(os.environ),
            "access": Path(access).read_text() if access else None,
        }
        self._answer(document, status)
        if not health:
            served += 1
            limit = switched("crash-after")
            if limit is not None and served >= int(limit):
                os._exit(9)
            if switched("eat-memory") is not None:
                eaten.append(bytearray(os.urandom(1024)) * 1024 * 200)

    def _answer(self, document: object, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Modelyard-Revision", os.environ["MODELYARD_SERVER_REVISION"])
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        say("served " + format % args)


class Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64


def main() -> None:
    say(f"starting {os.getpid()}")
    if switched("crash-at-start") is not None:
        sys.stderr.write("cannot load the package: on purpose\n")
        sys.exit(3)
    if switched("loads-too-long") is not None:
        sys.exit(EXIT_LOAD_TIMEOUT)
    port = int(os.environ["MODELYARD_SERVER_PORT"])
    once = switches / "port-in-use-once"
    if once.exists():
        once.unlink()
        (switches / "port-refused").write_text(str(port))
        sys.exit(4)
    server = Server((os.environ["MODELYARD_SERVER_HOST"], port), Handler)
    Handler.timeout = 0.2
    stop = threading.Event()
    if switched("ignore-term") is not None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    while not stop.wait(0.05):
        pass
    server.shutdown()
    server.server_close()
    say("drained")


main()
