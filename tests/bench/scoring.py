"""Offline scoring over a bare ONNX Runtime loop on the same Parquet, and its peak memory as the input grows.

    python tests/bench/scoring.py [--rows 1000000] [--repeats 5]          # speed, in turns
    python tests/bench/scoring.py --memory 1000000,10000000,40000000      # peak memory

Both are processes of their own and write their answers to Parquet with the same codec. The bare loop reads batches of
the same size, casts and feeds them to one session, with ONNX Runtime's own choice of threads and with one, and checks,
counts, resumes and names nothing. Time is from the first batch read to the last byte written, loading and imports left
out (ours has the loading of its sessions in it); the whole processes' beside it.
Peak memory is the most anonymous memory (RssAnon), polled: what pages of files the kernel keeps is its own affair.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = 12
MB = 1e6
_GROUP = 500_000

RAW = """
import json, sys, time
import numpy as np, onnxruntime as ort, pyarrow as pa, pyarrow.parquet as pq
data, output, model, names, batch = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), int(sys.argv[5])
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[6])
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
inputs = session.get_inputs()
kinds = {"tensor(double)": np.float64, "tensor(float)": np.float32}
begun = time.perf_counter()
writer, held = None, []
def flush():
    global writer, held
    if held:
        writer = writer or pq.ParquetWriter(output, held[0].schema, compression="zstd", compression_level=1,
            use_dictionary=["label"], write_statistics=False)
        writer.write_table(pa.Table.from_batches(held))
    held = []
for part in pq.ParquetFile(data).iter_batches(batch, columns=["id", *names]):
    columns = [part.column(name).to_numpy() for name in names]
    if len(inputs) == 1:
        feeds = {inputs[0].name: np.column_stack(columns).astype(kinds[inputs[0].type])}
    else:
        feeds = {i.name: c.astype(kinds[i.type])[:, None] for i, c in zip(inputs, columns)}
    answers = session.run(None, feeds)
    made = [part.column("id")]
    for answer in answers:
        flat = pa.array(answer.reshape(-1))
        made.append(flat if answer.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, answer.shape[1]))
    held.append(pa.RecordBatch.from_arrays(made, ["id", "label", "probabilities"][: len(made)]))
    if sum(b.num_rows for b in held) >= 262144:
        flush()
flush()
writer.close()
print(json.dumps({"seconds": time.perf_counter() - begun}))
"""


@dataclass
class Took:
    """One process: seconds of its loop, of all of it, its processor's, and its peak bytes."""

    loop: float
    whole: float
    cpu: float
    peak: float


def model(kind: str, folder: Path) -> Path:
    """A published classifier over COLUMNS numbers."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from modelyard.packaging import build

    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(20_000, COLUMNS)), columns=[f"x{i}" for i in range(COLUMNS)])
    y = (X["x0"] + X["x1"] * X["x2"] > 0).astype(int)
    estimator = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "boosting": HistGradientBoostingClassifier(max_iter=100, random_state=0),
    }[kind]
    manifest = build(estimator.fit(X, y), X[:5], directory=folder, training=X, trial=False)
    assert manifest.flavor == "onnx", manifest.conversions
    return folder


def write(rows: int, path: Path) -> None:
    """A table of that many rows, a group at a time."""
    rng = np.random.default_rng(1)
    writer: Any = None
    for start in range(0, rows, _GROUP):
        size = min(_GROUP, rows - start)
        columns = {"id": np.arange(start, start + size), **{f"x{i}": rng.normal(size=size) for i in range(COLUMNS)}}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    writer.close()


def ran(command: list[str]) -> tuple[str, Took]:
    """What a process printed, and what it took."""
    begun, peak, cpu = time.perf_counter(), 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, *(1024.0 * int(r.split()[1]) for r in status.splitlines() if r.startswith("RssAnon")))
                times = watched.cpu_times()
                cpu = times.user + times.system
            except (OSError, TypeError, psutil.Error):
                pass
            time.sleep(0.01)
        printed = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}: {printed}")
    return printed, Took(0.0, time.perf_counter() - begun, cpu, peak)


def raw(data: Path, output: Path, package: Path, threads: int) -> Took:
    """The bare loop; 0 threads: ONNX Runtime chooses."""
    names = json.dumps([f"x{i}" for i in range(COLUMNS)])
    graph = str(package / "modelyard" / "model.onnx")
    printed, took = ran([sys.executable, "-c", RAW, str(data), str(output), graph, names, "32768", str(threads)])
    took.loop = json.loads(printed)["seconds"]
    return took


def ours(data: Path, output: Path, package: Path) -> Took:
    """What `yard.score` runs."""
    options = json.dumps({"keys": ["id"], "overwrite": True})
    command = [sys.executable, "-m", "modelyard.batch.scoring", str(data), str(output)]
    _, took = ran([*command, "--package", str(package), "--options", options])
    took.loop = json.loads((output / "_manifest.json").read_text())["seconds"]
    return took


def speed(rows: int, repeats: int, folder: Path) -> None:
    """All three, in turns."""
    write(rows, folder / "in.parquet")
    for kind in ("logistic", "boosting"):
        package = model(kind, folder / kind)
        turns = []
        for _ in range(repeats):
            bare = [raw(folder / "in.parquet", folder / "raw.parquet", package, threads) for threads in (0, 1)]
            turns.append((*bare, ours(folder / "in.parquet", folder / "ours", package)))
        print(f"{kind}, {rows:,} rows, {repeats} turns: least seconds of the loop, median processor seconds of all")
        least = [min(turn[side].loop for turn in turns) for side in range(3)]
        cpu = [statistics.median(turn[side].cpu for turn in turns) for side in range(3)]
        for side, name in enumerate(("bare loop", "bare loop, one thread", "ours")):
            print(
                f"  {name}: {least[side]:.2f} s, {rows / least[side]:,.0f} rows a second; processor {cpu[side]:.2f} s"
            )
        for side, name in enumerate(("the bare loop", "the one with one thread")):
            median = statistics.median(turn[side].loop / turn[2].loop for turn in turns)
            print(f"  ours at {least[side] / least[2]:.0%} of {name} (turns: median {median:.0%})", flush=True)


def memory(sizes: list[int], folder: Path) -> None:
    """Ours, as the table grows."""
    package = model("logistic", folder / "logistic")
    for rows in sizes:
        write(rows, folder / "in.parquet")
        took = ours(folder / "in.parquet", folder / "ours", package)
        print(f"{rows:,} rows: peak {took.peak / MB:.0f} MB, {rows / took.loop:,.0f} rows a second", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", metavar="ROWS,…", help="measure memory instead, for tables of so many rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if given.memory:
            memory([int(n) for n in given.memory.split(",")], Path(place))
        else:
            speed(given.rows, given.repeats, Path(place))


if __name__ == "__main__":
    main()
