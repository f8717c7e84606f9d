"""`make bench [PEERS=DIR]`: starts a Modelyard of its own in a temporary folder, measures, prints and stops it. `DIR`
holds other model servers' environments: `server_peers.py`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import panels  # noqa: E402

from harness.publishing import Publisher  # noqa: E402
from harness.stack import Stack  # noqa: E402


def started(home: Path, port: int | None = None) -> tuple[Stack, float]:
    """A ready stack and the seconds that it took."""
    start = time.perf_counter()
    return Stack(home, port).wait_ready(), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=Path)
    peers = parser.parse_args().peers
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        stack, first = started(home)
        stack.stop()
        stack, second = started(home, stack.port)
        print(f"start: first {first:.1f} s, second {second:.1f} s")
        try:
            Publisher(stack).publish("resident")
            subprocess.run([sys.executable, str(HERE / "memory.py"), str(home)], check=True)
            environment = os.environ | stack.library("ada")
            subprocess.run([sys.executable, str(HERE / "publish.py")], check=True, env=environment)
            panels.drawn(stack)
        finally:
            stack.stop()
    if shutil.which("wrk") is None:
        print("the model server's speed is not measured: wrk is not installed")
    else:
        beside = [] if peers is None else ["--peers", str(peers.absolute())]
        subprocess.run([sys.executable, str(HERE / "server_speed.py"), *beside], check=True)
    for script in (
        ["panels.py"],
        ["training.py", "sklearn"],
        ["training_torch.py"],
        ["runs.py", "--many", "60"],
        ["spawn_speed.py"],
    ):
        subprocess.run([sys.executable, str(HERE / script[0]), *script[1:]], check=True)


if __name__ == "__main__":
    main()
