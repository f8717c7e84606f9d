"""`python -m modelyard_server.trial DIR`: load a package in this fresh process and predict its example.

Prints one JSON line {"ok": true, "outputs": {name: values}, "seconds": s}; on failure the traceback, with exit code 3.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

import orjson

from modelyard_server.dataplane import DataPlane, load
from modelyard_server.v2 import values


def predict_example(plane: DataPlane) -> dict[str, list[object]]:
    """Flat JSON values of each output for the package's own example."""
    return {name: values(array) for name, array in plane.predict(plane.example()).items()}


def main(directory: Path) -> int:
    start = time.perf_counter()
    try:
        outputs = predict_example(load(directory))
    except Exception:
        traceback.print_exc()
        return 3
    answer = {"ok": True, "outputs": outputs, "seconds": time.perf_counter() - start}
    sys.stdout.write(orjson.dumps(answer).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
