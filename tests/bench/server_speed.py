"""The model server against the floor and against other servers: one machine, one load, turn by turn.

python tests/bench/server_speed.py [--peers DIR] [--seconds 3] [--rounds 3] [--models lr,hgb,sk,ska]

The server is bound to one core and `wrk` to another; each figure is the median of the rounds, and a round asks each
server in turn: what else the machine does hits all alike. The floors are a bare ASGI application (uvicorn) and a
bare RSGI one (granian) that parse, call ONNX Runtime and serialize: no checks, no access, no metrics. `DIR` holds
the peers' environments (`server_peers.py`). `sk` is a model that ONNX has no operators for: ours runs it in a process
of its own, on the same core, and there is no floor. The peers' models are fitted on arrays, ours on a frame, as in most
notebooks; `ska` is `sk` fitted on an array for ours, too. On a shared machine the processor's time per request tells
more than the rate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import joblib
import numpy as np
from server_load import HERE, Server, free_port, labels, load, ours, prepare, resident, running, spent
from server_models import write_models
from server_peers import peers
from sklearn.datasets import load_breast_cancer

BODIES = 8


def some_rows(n: int, which: int = 0) -> np.ndarray:
    """Rows like the data's, none like another: who asks for a thousand has a thousand."""
    rng = np.random.default_rng(which)
    rows = np.resize(load_breast_cancer().data, (n, 30))
    return np.round(rows * (1 + 0.05 * rng.normal(size=rows.shape)), 4)


def payloads(folder: Path) -> None:
    """Bodies of one row and of a thousand, several of these, which are asked in turns."""
    for n in (1, 1000):
        for which in range(BODIES if n > 1 else 1):
            _payloads(folder, some_rows(n, which), f".{which}" if which else "")


def _payloads(folder: Path, rows: np.ndarray, end: str) -> None:
    n = len(rows)
    tensor = {"name": "input", "shape": [n, 30], "datatype": "FP64"}
    asked = {"outputs": [{"name": "label"}]}
    whole = {"inputs": [tensor | {"data": rows.ravel().tolist()}]}
    (folder / f"v2-{n}{end}").write_text(json.dumps(whole | asked))
    (folder / f"peer-{n}{end}").write_text(json.dumps(whole).replace('"input"', '"predict"'))
    for payload, key in (("v1", "instances"), ("rows", "rows"), ("input", "input"), ("inputs", "inputs")):
        (folder / f"{payload}-{n}{end}").write_text(json.dumps({key: rows.tolist()}))
    raw = rows.astype("<f8").tobytes()
    head = {"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}
    said = json.dumps(head | asked | {"parameters": {"binary_data_output": True}}).encode()
    (folder / f"v2bin-{n}{end}").write_bytes(said + raw)
    (folder / f"v2bin-{n}{end}.head").write_text(str(len(said)))


def servers(folder: Path, model: str, environments: Path | None) -> Iterator[Server]:
    """Ours, the floors, and the peers that are there."""
    yield ours(folder / model)
    if (folder / model / "modelyard/model.onnx").exists():
        yield from _floors(folder, model, environments)
    if environments is not None:
        yield from peers(folder, model, environments)


def _floors(folder: Path, model: str, environments: Path | None) -> Iterator[Server]:
    graph = {"GRAPH": str(folder / model / "modelyard/model.onnx"), "PYTHONPATH": str(HERE)}
    port = free_port()
    flags = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    uvicorn = [sys.executable, "-m", "uvicorn", "server_floor:asgi", *flags, "--lifespan", "off"]
    yield Server("floor ASGI", uvicorn, environment=graph, port=port)
    if environments is None:
        return
    if (granian := environments / "base/bin/granian").exists():
        port = free_port()
        flags = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
        run = [str(granian), "--interface", "rsgi", "--workers", "1", "--loop", "uvloop", *flags, "server_floor:rsgi"]
        yield Server("floor RSGI", run, environment=graph, port=port)


def measured(folder: Path, model: str, arguments: argparse.Namespace) -> None:
    """All servers of one model, in turns."""
    expected = joblib.load(folder / f"{model}.joblib").predict(some_rows(1000)).tolist()
    cases = [(kind, int(c)) for kind in ("1",) for c in arguments.connections.split(",")]
    cases += [] if arguments.short else [("1000", 4), ("1000bin", 4)]
    with ExitStack() as stack:
        found: dict[tuple[str, str, int], list[dict[str, float]]] = {}
        started = []
        for server in servers(folder, model, arguments.peers):
            try:
                process = stack.enter_context(running(server, folder))
            except SystemExit as error:
                if server.name in ("ours", "floor ASGI"):
                    raise
                print(f"left out: {error}", flush=True)
                continue
            agree = np.mean(np.array([int(v) for v in labels(server, folder)]) == np.array(expected))
            started.append((server, process))
            print(f"{server.name}: up, {agree:.1%} of its labels are scikit-learn's", flush=True)
        for turn in range(arguments.rounds):
            # Nobody always comes after the same one, which may be at work for a while after its load.
            first = turn * len(started) // arguments.rounds
            for kind, connections in cases:
                for server, process in started[first:] + started[:first]:
                    if kind.endswith("bin") and server.payload != "v2":
                        continue
                    before = spent(process)
                    one = load(server, folder, kind, connections, arguments.seconds)
                    one["cpu"] = (spent(process) - before) / max(one["count"], 1) * 1e6
                    found.setdefault((server.name, kind, connections), []).append(one)
        report(model, found)
        for server, process in started:
            print(f"  {server.name}: {resident(process):.0f} MB resident")


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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        write_models(folder, tuple(arguments.models.split(",")))
        payloads(folder)
        for model in arguments.models.split(","):
            measured(folder, model, arguments)


if __name__ == "__main__":
    main()
