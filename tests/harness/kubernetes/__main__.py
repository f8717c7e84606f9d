"""`python -m harness.kubernetes [COMMAND …]`: a cluster while the command runs, or until Ctrl-C.

The command finds it by MODELYARD_TEST_KUBECONFIG; where that names a cluster already, the command runs with that one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from harness.kubernetes.cluster import VARIABLE, named, running


def main(command: list[str]) -> int:
    """The command's exit code."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if named() is not None and command:
        return subprocess.call(command)
    began = time.monotonic()
    with running() as cluster:
        print(f"Kubernetes runs after {time.monotonic() - began:.0f} s: {VARIABLE}={cluster.kubeconfig}", flush=True)  # noqa: T201
        if command:
            return subprocess.call(command, env={**os.environ, VARIABLE: str(cluster.kubeconfig)})
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
