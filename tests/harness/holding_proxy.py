"""A proxy before an HTTP server that holds up calls which are on their way: the caller may be dead when they arrive."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HoldingProxy:
    """`url` answers as the server behind it. The first call that `wanted` matches ('PUT /bucket/key') waits here,
    whole: `held` is set then, it goes on once `go` is, and `landed` when the server has answered it, with `status`."""

    def __init__(self, port: int, wanted: str) -> None:
        self.held, self.go, self.landed = threading.Event(), threading.Event(), threading.Event()
        self.status = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, port))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._wanted, self._lock = re.compile(wanted), threading.Lock()

    def takes(self, call: str) -> bool:
        """Whether that is the one."""
        with self._lock:
            mine = not self.held.is_set() and self._wanted.search(call) is not None
            if mine:
                self.held.set()
            return mine


def _handler(proxy: HoldingProxy, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            mine = proxy.takes(f"{self.command} {self.path}")
            if mine:
                proxy.go.wait(60)
            behind = http.client.HTTPConnection("127.0.0.1", port)
            behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                behind.putheader(name, value)
            behind.endheaders(body)
            answer = behind.getresponse()
            content = answer.read()
            behind.close()
            if mine:
                proxy.status = answer.status
                proxy.landed.set()
            with suppress(ConnectionError):
                self._answer(answer, content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815

        def _answer(self, answer: http.client.HTTPResponse, content: bytes) -> None:
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    return Handler


@contextmanager
def holding_proxy(port: int, wanted: str) -> Iterator[HoldingProxy]:
    """One before the server at that port of this machine."""
    proxy = HoldingProxy(port, wanted)
    thread = threading.Thread(target=proxy.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.go.set()
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join(10)
