"""What a model server takes: from start to ready, memory, growth over a million requests, images of 1 MB.

python tests/bench/server_resources.py [--parts start,images,growth] [--requests 1000000] [--rounds 5]

start: an ONNX model of 10 MB, from the process's start until ready is answered: the wall's and the processor's
seconds, and megabytes resident. images: binary tensors of 1 MB through a small network of convolutions, over the
bare ASGI application. growth: single rows, one in eight of which is refused, and megabytes resident as they go by;
the slope is that of the line of least squares through all but the first tenth.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
from server_load import HERE, Server, free_port, load, ours, prepare, resident, running, spent
from server_models import IMAGE, write_dense, write_images, write_models
from server_speed import payloads

TARGET_START, TARGET_MEMORY = 1.0, 120


def started(folder: Path, rounds: int) -> None:
    """From start to ready."""
    write_dense(folder / "dense")
    size = (folder / "dense/modelyard/model.onnx").stat().st_size
    walls, processors, memory = [], [], []
    for _ in range(rounds + 1):
        server = ours(folder / "dense")
        begin = time.perf_counter()
        process = subprocess.Popen(server.command, env=os.environ | server.environment, stderr=subprocess.DEVNULL)
        try:
            while not ready(server):
                time.sleep(0.005)
            walls.append(time.perf_counter() - begin)
            seen = psutil.Process(process.pid)
            processors.append(spent(seen))
            memory.append(resident(seen))
        finally:
            process.kill()
            process.wait()
    # The first start compiles to byte code and reads from the disk.
    wall, processor = statistics.median(walls[1:]), statistics.median(processors[1:])
    print(f"start to ready, ONNX of {size / 1e6:.1f} MB: median {wall:.2f} s, least {min(walls[1:]):.2f} s, ", end="")
    print(f"processor {processor:.2f} s (target {TARGET_START} s); ", end="")
    print(f"{statistics.median(memory):.0f} MB resident (target {TARGET_MEMORY} MB)", flush=True)


def ready(server: Server) -> bool:
    """Whether it says so."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as caller:
            caller.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
            return caller.recv(100).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def images(folder: Path, rounds: int) -> None:
    """Ours and the bare application, in turns."""
    write_images(folder / "images")
    pixels = np.random.default_rng(0).random((1, *IMAGE), np.float32).tobytes()
    tensor = {"name": "input", "shape": [1, *IMAGE], "datatype": "FP32"}
    asked = {"inputs": [tensor | {"parameters": {"binary_data_size": len(pixels)}}]}
    said = json.dumps(asked | {"outputs": [{"name": "prediction", "parameters": {"binary_data": True}}]}).encode()
    (folder / "v2bin-image").write_bytes(said + pixels)
    (folder / "v2bin-image.head").write_text(str(len(said)))
    graph = {"GRAPH": str(folder / "images/modelyard/model.onnx"), "PYTHONPATH": str(HERE)}
    port = free_port()
    flags = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    uvicorn = [sys.executable, "-m", "uvicorn", "server_floor:asgi", *flags, "--lifespan", "off"]
    both = [ours(folder / "images"), Server("floor ASGI", uvicorn, environment=graph, port=port)]
    found: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        processes = [stack.enter_context(running(server, folder, "imagebin")) for server in both]
        for _ in range(rounds):
            for server, process in zip(both, processes, strict=True):
                before = spent(process)
                one = load(server, folder, "imagebin", 4, 3)
                one["cpu"] = (spent(process) - before) / max(one["count"], 1) * 1e3
                found.setdefault(server.name, []).append(one)
    medians = {n: {k: statistics.median(r[k] for r in runs) for k in runs[0]} for n, runs in found.items()}
    print(f"images of {len(pixels) / 1e6:.2f} MB as binary tensors, 4 connections")
    for name, m in medians.items():
        print(f"  {name:10} {m['rate']:6.0f} /s, p50 {m['p50']:6.2f} ms, p99 {m['p99']:6.2f} ms, cpu {m['cpu']:.2f} ms")
    one, floor = medians["ours"], medians["floor ASGI"]
    print(
        f"  ours over the floor: rate {one['rate'] / floor['rate']:.2f}, cpu {one['cpu'] / floor['cpu']:.2f}",
        flush=True,
    )


def growth(folder: Path, requests: int) -> None:
    """Of the memory, over many requests."""
    write_models(folder, ("lr",))
    payloads(folder)
    refused = json.loads((folder / "v2-1").read_text())
    refused["inputs"][0]["data"][7] = "seven"
    (folder / "v2-wrong").write_text(json.dumps(refused))
    server = ours(folder / "lr")
    done, seen = 0, []
    with running(server, folder) as process:
        while done < requests:
            for kind, seconds in (("1", 14), ("wrong", 2)):
                done += int(load(server, folder, kind, 32, seconds)["count"])
            seen.append((done, process.memory_info().rss))
            print(f"  {done:9} requests: {seen[-1][1] / 1e6:.1f} MB", flush=True)
    late = np.array([one for one in seen if one[0] > requests / 10])
    slope = np.polyfit(late[:, 0] / 1e6, late[:, 1] / 1e6, 1)[0] if len(late) > 1 else float("nan")
    print(f"growth: {slope:+.2f} MB for a million requests, {late[-1, 1] / 1e6:.1f} MB in the end", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="start,images,growth")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        if "start" in parts:
            started(folder, arguments.rounds)
        if "images" in parts:
            images(folder, arguments.rounds)
        if "growth" in parts:
            growth(folder, arguments.requests)


if __name__ == "__main__":
    main()
