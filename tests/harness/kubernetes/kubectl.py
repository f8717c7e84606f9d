"""kubectl, on one kubeconfig."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.kubernetes.binaries import program


class Kubectl:
    """Call it with kubectl's arguments; the answer is its output, or AssertionError with what it said."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    def __call__(self, *arguments: str, input: str | None = None) -> str:
        binary = program("kubectl")
        command = [str(binary), f"--kubeconfig={self._kubeconfig}", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr[-3000:]}"
        return done.stdout
