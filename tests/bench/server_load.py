"""A model server on one core and `wrk` on another: started, asked, loaded. For the scripts beside this one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from harness.model_server import free_port  # noqa: E402

SERVER_CORE, LOAD_CORE = "0", "1"
SCRIPT = """
wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"
local n = os.getenv("HEAD"); if n ~= "" then wrk.headers["Inference-Header-Content-Length"] = n end
local asked, at = {}, 0
function init()
  local path = os.getenv("BODY")
  local f = io.open(path, "rb")
  while f do
    asked[#asked + 1] = wrk.format(nil, nil, nil, f:read("*a")); f:close()
    f = io.open(path .. "." .. #asked, "rb")
  end
end
function request() at = at % #asked + 1; return asked[at] end
function done(s, l, r)
  local e = s.errors
  io.write(string.format('RESULT {"count": %d, "rate": %.1f, "p50": %.3f, "p99": %.3f, "bad": %d}\\n', s.requests,
    s.requests / s.duration * 1e6,
    l:percentile(50) / 1e3, l:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass
class Server:
    """`payload`: which body it takes; `core`: on which cores it runs."""

    name: str
    command: list[str]
    path: str = "/v2/models/m/infer"
    payload: str = "v2"
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    core: str = SERVER_CORE


def ours(package: Path, **settings: object) -> Server:
    """Our model server of a package."""
    port = free_port()
    known = {"package": package, "endpoint": "m", "port": port, "open": 1, "version": "v1"} | settings
    environment = {f"MODELYARD_SERVER_{k.upper()}": str(v) for k, v in known.items()}
    return Server("ours", [sys.executable, "-m", "modelyard_server"], environment=environment, port=port)


def prepare(folder: Path) -> None:
    """What `load` needs in its folder."""
    if shutil.which("wrk") is None or (os.cpu_count() or 1) < 2:
        raise SystemExit("this needs wrk (Debian's package wrk) and two cores")
    (folder / "post.lua").write_text(SCRIPT)


@contextmanager
def running(server: Server, folder: Path, kind: str = "1000") -> Iterator[psutil.Process]:
    """The server, answering a body of that kind, on its core."""
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "UVICORN_ACCESS_LOG": "false"}
    command = ["taskset", "-c", server.core, *server.command]
    log = folder / f"{server.name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env=os.environ | one | server.environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=folder,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                asked(server, folder, kind)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{server.name} does not answer:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.2)
        yield psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def body(server: Server, folder: Path, kind: str) -> tuple[Path, str]:
    """The file of a body, and the length of its JSON where tensors follow it."""
    if not kind.endswith("bin"):
        return folder / f"{server.payload}-{kind}", ""
    found = folder / f"v2bin-{kind[:-3]}"
    return found, (folder / f"{found.name}.head").read_text()


def asked(server: Server, folder: Path, kind: str) -> bytes:
    """What it answers."""
    path, head = body(server, folder, kind)
    headers = {"Content-Type": "application/json"} | ({"Inference-Header-Content-Length": head} if head else {})
    url = f"http://127.0.0.1:{server.port}{server.path}"
    with urllib.request.urlopen(urllib.request.Request(url, path.read_bytes(), headers), timeout=30) as answer:
        found: bytes = answer.read()
    return found


def labels(server: Server, folder: Path) -> list[int]:
    """The labels that it answers to a thousand rows."""
    said = json.loads(asked(server, folder, "1000"))
    if isinstance(said, list):
        return said
    for name in ("predictions", "output"):
        if name in said:
            return list(said[name])
    return list(said["outputs"][0]["data"])


def load(
    server: Server, folder: Path, kind: str, connections: int, seconds: float, core: str = LOAD_CORE
) -> dict[str, float]:
    """One run of wrk."""
    path, head = body(server, folder, kind)
    url = f"http://127.0.0.1:{server.port}{server.path}"
    wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "20s", "-s", str(folder / "post.lua")]
    environment = os.environ | {"BODY": str(path), "HEAD": head}
    done = subprocess.run(
        ["taskset", "-c", core, *wrk, url], env=environment, capture_output=True, text=True, check=True
    )
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    assert found, done.stdout
    result: dict[str, float] = json.loads(found.group(1))
    if result["bad"] and kind != "wrong":
        print(f"  {server.name} {kind}: {result['bad']:.0f} bad answers")
    return result


def spent(process: psutil.Process) -> float:
    """Seconds of processor that it and its children have used."""
    return sum(sum(p.cpu_times()[:2]) for p in (process, *process.children(recursive=True)))


def resident(process: psutil.Process) -> float:
    """Megabytes of it and its children."""
    return sum(p.memory_info().rss for p in (process, *process.children(recursive=True))) / 1e6
