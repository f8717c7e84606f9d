"""The client's connections, over TLS as a cluster's are."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.kubernetes.certificates import Authority, kubeconfig
from harness.observed_pods import QUICK
from modelyard_hub.runtimes.kubernetes import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.client import connect
from modelyard_hub.runtimes.kubernetes.kinds import POD

BODY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


@contextmanager
def unfinished(folder: Path, begun: bytes) -> Iterator[tuple[Path, threading.Semaphore]]:
    """An API server that begins to answer with `begun` and never goes on, nor hears of a goodbye: its kubeconfig, and
    its calls."""
    authority = Authority(folder)
    certificate, key = authority.sign("server", user="server", hosts=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    asked, held = threading.Semaphore(0), list[socket.socket]()

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                held.append(context.wrap_socket(listening.accept()[0], server_side=True))
                held[-1].recv(65536)
                held[-1].sendall(begun)
                asked.release()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), name="unfinished")
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        pair = authority.sign("client", user="client")
        try:
            yield kubeconfig(folder / "kubeconfig", url, authority.certificate, pair), asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in held:
                one.close()


async def cancelled(config: Path, asked: threading.Semaphore) -> None:
    client = await connect(KubernetesOptions(namespace="yard", kubeconfig=config, image="server:1", timing=QUICK))
    calls = [asyncio.create_task(client.get(POD, "one")) for _ in range(3)]
    for _ in calls:
        assert await asyncio.to_thread(asked.acquire, timeout=10)
    for call in calls:
        call.cancel()
    assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*calls, return_exceptions=True))
    await client.close()


@pytest.mark.parametrize("begun", [b"", BODY], ids=["no answer yet", "half an answer"])
def test_cancelled_calls_leave_no_socket_behind(tmp_path: Path, begun: bytes) -> None:
    with unfinished(tmp_path, begun) as server, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(cancelled(*server))
        gc.collect()
    assert [str(w.message) for w in told if issubclass(w.category, ResourceWarning)] == []
