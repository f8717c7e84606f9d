"""kubectl, on one kubeconfig."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.kubernetes.binaries import program


class Kubectl:
    """Call it with kubectl's arguments; the answer is its output, or AssertionError with what it said."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    def command(self, *arguments: str) -> list[str]:
        """The whole line."""
        return [str(program("kubectl")), f"--kubeconfig={self._kubeconfig}", *arguments]

    def __call__(self, *arguments: str, input: str | None = None) -> str:
        done = subprocess.run(self.command(*arguments), input=input, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr[-3000:]}"
        return done.stdout
