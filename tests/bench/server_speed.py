"""The model server against the floor and against other servers: one machine, one load, turn by turn.

python tests/bench/server_speed.py [--peers DIR] [--seconds 3] [--rounds 3] [--models lr,hgb,sk]

The server is bound to one core and `wrk` to another; each figure is the median of the rounds, and a round asks each
server in turn: what else the machine does hits all alike. The floors are a bare ASGI application (uvicorn) and a
bare RSGI one (granian) that parse, call ONNX Runtime and serialize: no checks, no access, no metrics. `DIR` holds a
folder with an environment for each peer (`mlserver`, `kserve`; `granian` in `base`), as `python -m venv` and pip make
them. `sk` is a model that ONNX has no operators for: ours runs it in a process of its own, on the same core, and there
is no floor. On a shared machine the processor's time per request tells more than the rate.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import psutil
from sklearn.datasets import load_breast_cancer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from server_models import write_models  # noqa: E402

from harness.model_server import free_port  # noqa: E402

SERVER_CORE, LOAD_CORE = "0", "1"
SCRIPT = """
local f = io.open(os.getenv("BODY"), "rb"); wrk.body = f:read("*a"); f:close()
wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"
local n = os.getenv("HEAD"); if n ~= "" then wrk.headers["Inference-Header-Content-Length"] = n end
function done(s, l, r)
  local e = s.errors
  io.write(string.format('RESULT {"count": %d, "rate": %.1f, "p50": %.3f, "p99": %.3f, "bad": %d}\\n', s.requests,
    s.requests / s.duration * 1e6,
    l:percentile(50) / 1e3, l:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass
class Server:
    """`payload`: which body it takes."""

    name: str
    command: list[str]
    path: str = "/v2/models/m/infer"
    payload: str = "v2"
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)


def payloads(folder: Path) -> None:
    """Bodies of one row and of a thousand."""
    X, _ = load_breast_cancer(return_X_y=True)
    for n in (1, 1000):
        rows = np.resize(X, (n, 30))
        tensor = {"name": "input", "shape": [n, 30], "datatype": "FP64"}
        asked = {"outputs": [{"name": "label"}]}
        whole = {"inputs": [tensor | {"data": rows.ravel().tolist()}]}
        (folder / f"v2-{n}").write_text(json.dumps(whole | asked))
        (folder / f"peer-{n}").write_text(json.dumps(whole).replace('"input"', '"predict"'))
        (folder / f"v1-{n}").write_text(json.dumps({"instances": rows.tolist()}))
        raw = rows.astype("<f8").tobytes()
        head = {"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}
        said = json.dumps(head | asked | {"parameters": {"binary_data_output": True}}).encode()
        (folder / f"v2bin-{n}").write_bytes(said + raw)
        (folder / f"v2bin-{n}.head").write_text(str(len(said)))


def servers(folder: Path, model: str, peers: Path | None) -> Iterator[Server]:
    """Ours, the floors, and the peers that are there."""
    port = free_port()
    ours = {"PACKAGE": str(folder / model), "ENDPOINT": "m", "PORT": str(port), "OPEN": "1", "VERSION": "v1"}
    settings = {f"MODELYARD_SERVER_{k}": v for k, v in ours.items()}
    yield Server("ours", [sys.executable, "-m", "modelyard_server"], environment=settings, port=port)
    if (folder / model / "modelyard/model.onnx").exists():
        yield from _floors(folder, model, peers)
    if peers is not None:
        yield from _peers(folder, model, peers)


def _floors(folder: Path, model: str, peers: Path | None) -> Iterator[Server]:
    graph = {"GRAPH": str(folder / model / "modelyard/model.onnx"), "PYTHONPATH": str(HERE)}
    port = free_port()
    flags = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    uvicorn = [sys.executable, "-m", "uvicorn", "server_floor:asgi", *flags, "--lifespan", "off"]
    yield Server("floor ASGI", uvicorn, environment=graph, port=port)
    if peers is None:
        return
    if (granian := peers / "base/bin/granian").exists():
        port = free_port()
        flags = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
        run = [str(granian), "--interface", "rsgi", "--workers", "1", "--loop", "uvloop", *flags, "server_floor:rsgi"]
        yield Server("floor RSGI", run, environment=graph, port=port)


def _peers(folder: Path, model: str, peers: Path) -> Iterator[Server]:
    pickle = str(folder / f"{model}.joblib")
    if (mlserver := peers / "mlserver/bin/mlserver").exists():
        home = folder / f"mlserver-{model}"
        home.mkdir(exist_ok=True)
        port = free_port()
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        quiet = {"host": "127.0.0.1", "debug": False, "gzip_enabled": False, "parallel_workers": 0}
        (home / "settings.json").write_text(json.dumps(ports | quiet))
        said = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel"}
        batch = {"max_batch_size": 64, "max_batch_time": 0.002}
        where = {"parameters": {"uri": pickle, "version": "v1"}}
        (home / "model-settings.json").write_text(json.dumps(said | where | batch))
        yield Server("MLServer", [str(mlserver), "start", str(home)], payload="peer", port=port)
    if (kserve := peers / "kserve/bin/python").exists():
        port = free_port()
        flags = ["--model_name", "m", "--http_port", str(port), "--workers", "1", "--enable_grpc", "false"]
        flags += ["--enable_latency_logging", "false", "--model_dir", pickle]
        command = [str(kserve), str(HERE / "server_kserve.py"), *flags]
        yield Server("KServe", command, path="/v1/models/m:predict", payload="v1", port=port)


@contextmanager
def running(server: Server, folder: Path) -> Iterator[psutil.Process]:
    """The server, answering, on its core."""
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "UVICORN_ACCESS_LOG": "false"}
    command = ["taskset", "-c", SERVER_CORE, *server.command]
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
                ask(server, folder)
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


def ask(server: Server, folder: Path) -> list[int]:
    """The labels that it answers to a thousand rows."""
    body = (folder / f"{server.payload}-1000").read_bytes()
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{server.path}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = json.load(answer)
    return said["predictions"] if "predictions" in said else said["outputs"][0]["data"]


def load(server: Server, folder: Path, kind: str, connections: int, seconds: float) -> dict[str, float]:
    """One run of wrk."""
    binary = kind.endswith("bin")
    body = folder / (f"v2bin-{kind[:-3]}" if binary else f"{server.payload}-{kind}")
    head = (folder / f"{body.name}.head").read_text() if binary else ""
    url = f"http://127.0.0.1:{server.port}{server.path}"
    wrk = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:.0f}s",
        "--timeout",
        "20s",
        "-s",
        str(folder / "post.lua"),
        url,
    ]
    environment = os.environ | {"BODY": str(body), "HEAD": head}
    done = subprocess.run(
        ["taskset", "-c", LOAD_CORE, *wrk], env=environment, capture_output=True, text=True, check=True
    )
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    assert found, done.stdout
    result: dict[str, float] = json.loads(found.group(1))
    if result["bad"]:
        print(f"  {server.name} {kind}: {result['bad']:.0f} bad answers")
    return result


def measured(folder: Path, model: str, arguments: argparse.Namespace) -> None:
    """All servers of one model, in turns."""
    expected = (
        joblib.load(folder / f"{model}.joblib").predict(np.resize(load_breast_cancer().data, (1000, 30))).tolist()
    )
    cases = [(kind, int(c)) for kind in ("1",) for c in arguments.connections.split(",")]
    cases += [] if arguments.short else [("1000", 4), ("1000bin", 4)]
    with ExitStack() as stack:
        found: dict[tuple[str, str, int], list[dict[str, float]]] = {}
        started = []
        for server in servers(folder, model, arguments.peers):
            process = stack.enter_context(running(server, folder))
            agree = np.mean(np.array([int(v) for v in ask(server, folder)]) == np.array(expected))
            started.append((server, process))
            print(f"{server.name}: up, {agree:.1%} of its labels are scikit-learn's", flush=True)
        for _ in range(arguments.rounds):
            for kind, connections in cases:
                for server, process in started:
                    if kind.endswith("bin") and server.payload != "v2":
                        continue
                    before = spent(process)
                    one = load(server, folder, kind, connections, arguments.seconds)
                    one["cpu"] = (spent(process) - before) / max(one["count"], 1) * 1e6
                    found.setdefault((server.name, kind, connections), []).append(one)
        report(model, found)
        for server, process in started:
            family = [process, *process.children(recursive=True)]
            print(f"  {server.name}: {sum(p.memory_info().rss for p in family) / 1e6:.0f} MB resident")


def spent(process: psutil.Process) -> float:
    """Seconds of processor that it and its children have used."""
    return sum(sum(p.cpu_times()[:2]) for p in (process, *process.children(recursive=True)))


def report(model: str, found: dict[tuple[str, str, int], list[dict[str, float]]]) -> None:
    """Medians, and the ratios to the first floor and to the best peer."""
    for kind, connections in dict.fromkeys((k, c) for _, k, c in found):
        medians = {
            name: {key: statistics.median(r[key] for r in runs) for key in ("rate", "p50", "p99", "cpu")}
            for (name, k, c), runs in found.items()
            if (k, c) == (kind, connections)
        }
        ours, floor = medians["ours"], medians.get("floor ASGI")
        peers = {n: m for n, m in medians.items() if n != "ours" and not n.startswith("floor")}
        print(f"\n{model}, {kind} row(s), {connections} connection(s)")
        for name, m in medians.items():
            times = f"p50 {m['p50']:8.2f} ms, p99 {m['p99']:8.2f} ms, cpu {m['cpu']:6.0f} µs"
            print(f"  {name:10} {m['rate']:9.0f} /s, {times}")
        line = "  ours"
        if floor is not None:
            rate, cpu, p50 = (ours[key] / floor[key] for key in ("rate", "cpu", "p50"))
            line += f" over the floor: rate {rate:.2f}, cpu {cpu:.2f}, p50 {p50:.2f}"
        if peers:
            best, p99 = max(m["rate"] for m in peers.values()), min(m["p99"] for m in peers.values())
            cpu = min(m["cpu"] for m in peers.values())
            line += f"; over the best peer: rate {ours['rate'] / best:.1f}, cpu 1/{cpu / ours['cpu']:.1f}, "
            line += f"p99 {ours['p99'] / p99:.2f}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="lr,hgb")
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--short", action="store_true", help="single rows only")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None or (os.cpu_count() or 1) < 2:
        raise SystemExit("server_speed.py needs wrk (Debian's package wrk) and two cores")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "post.lua").write_text(SCRIPT)
        write_models(folder, tuple(arguments.models.split(",")))
        payloads(folder)
        for model in arguments.models.split(","):
            measured(folder, model, arguments)


if __name__ == "__main__":
    main()
