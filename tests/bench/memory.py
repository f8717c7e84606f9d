"""Resident memory of the hub service and of one ONNX model server, and the cost of `import modelyard`.

python tests/bench/memory.py HOME        HOME: the state folder of a running `make up` with at least one endpoint
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

MiB = 1024 * 1024
HEAVY = ("sklearn", "torch", "mlflow")


def resident(home: Path) -> dict[str, list[float]]:
    """MiB resident per kind of process that belongs to this state folder."""
    found: dict[str, list[float]] = {"hub service": [], "model server": []}
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        command = process.info["cmdline"] or []
        kind = {"modelyard_hub": "hub service", "modelyard_server": "model server"}.get(" ".join(command[2:3]))
        if kind is None or "-m" not in command:
            continue
        if process.environ().get("MODELYARD_HOME") == str(home) or str(home) in json.dumps(process.environ()):
            found[kind].append(process.info["memory_info"].rss / MiB)
    return found


def import_time(runs: int = 5) -> tuple[float, list[str]]:
    """Median seconds of `import modelyard`, less the bare interpreter's start; heavy modules that it drew in."""

    def once(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    once("import modelyard")
    seconds = statistics.median(once("import modelyard") - once("pass") for _ in range(runs))
    listing = subprocess.run(
        [sys.executable, "-c", "import modelyard, sys; print(*sys.modules)"], check=True, capture_output=True, text=True
    )
    return seconds, [name for name in HEAVY if name in listing.stdout.split()]


def main() -> None:
    seconds, heavy = import_time()
    print(f"import modelyard: {seconds:.2f} s, heavy modules drawn in: {heavy or 'none'}")
    if len(sys.argv) > 1:
        for kind, sizes in resident(Path(sys.argv[1]).absolute()).items():
            print(f"{kind}: {', '.join(f'{size:.0f} MiB' for size in sizes) or 'none running'}")


if __name__ == "__main__":
    main()
