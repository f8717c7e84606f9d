"""What a run costs over papermill itself, and how fast many short ones go through the queue.

`python tests/bench/runs.py [--pairs 5] [--many 500] [--slots 2]` starts a Modelyard of its own, as `make bench` does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import psutil  # noqa: E402

from harness.runs import notebook  # noqa: E402
from harness.stack import BIN, Stack  # noqa: E402


def bare(path: Path, folder: Path) -> float:
    """Seconds of papermill's command."""
    began = time.perf_counter()
    command = [str(BIN / "papermill"), str(path), str(folder / "out.ipynb"), "-p", "n", "2", "--no-progress-bar"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def as_a_run(path: Path) -> float:
    """Seconds from the submit to the end that is seen."""
    import modelyard as yard

    began = time.perf_counter()
    run = yard.submit(path, {"n": 2})
    while not run.refresh().status.state.ended:
        time.sleep(0.02)
    assert run.status.state == "succeeded", run.status
    return time.perf_counter() - began


def overhead(path: Path, folder: Path, pairs: int) -> None:
    """In turns, since the machine is shared."""
    bare(path, folder), as_a_run(path)
    both = [(bare(path, folder), as_a_run(path)) for _ in range(pairs)]
    ours, theirs = statistics.median(o for _, o in both), statistics.median(t for t, _ in both)
    over = statistics.median(o - t for t, o in both)
    print(f"one run: papermill {theirs:.2f} s, ours {ours:.2f} s, over it {over:+.2f} s (target: at most +1.5 s)")


def loop(path: Path, folder: Path, count: int, slots: int) -> float:
    """Seconds of a shell loop over papermill, of which `slots` are at work at once."""
    script = f'seq {count} | xargs -P {slots} -I% {BIN}/papermill "$0" "$1/out-%.ipynb" -p n 2 --no-progress-bar'
    began = time.perf_counter()
    subprocess.run(["sh", "-c", script, str(path), str(folder)], check=True, capture_output=True)
    return time.perf_counter() - began


def many(stack: Stack, path: Path, folder: Path, count: int, slots: int) -> None:
    """As many runs, submitted at once, which counts; and the hub service's memory before, in the middle and after.

    Half of the loop comes before and half after: a machine that gets slower meanwhile is as slow for both.
    """
    import modelyard as yard

    theirs = loop(path, folder, count // 2, slots)
    service = psutil.Process(stack.pid("service"))
    memory = [service.memory_info().rss >> 20]
    began = time.perf_counter()
    runs = [yard.submit(path, {"n": 2}) for _ in range(count)]
    while left := sum(len(yard.runs(state=state, limit=1000)) for state in ("queued", "running")):
        if len(memory) == 1 and left < count / 2:
            memory.append(service.memory_info().rss >> 20)
        time.sleep(1)
    took = time.perf_counter() - began
    memory.append(service.memory_info().rss >> 20)
    assert all(run.refresh().status.state == "succeeded" for run in runs)
    theirs += loop(path, folder, count - count // 2, slots)
    rate = f"{theirs / took:.0%} of its rate (target: 90 %)"
    print(f"{count} runs with {slots} slots: {took:.0f} s, a shell loop {theirs:.0f} s: {rate}")
    print(f"hub service: {' -> '.join(map(str, memory))} MiB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--slots", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "one.ipynb"
        path.write_text(notebook("print(n)", parameters="n = 1"))
        stack = Stack(folder / "home", MODELYARD_RUN_SLOTS=str(given.slots)).wait_ready()
        try:
            os.environ |= {k: v for k, v in stack.library("ada").items() if k.startswith("MODELYARD_")}
            overhead(path, folder, given.pairs)
            if given.many:
                many(stack, path, folder, given.many, given.slots)
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
