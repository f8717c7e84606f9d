"""A small task that runs some lines of Python."""

from __future__ import annotations

from modelyard_api.resources import MiB, Resources
from modelyard_hub.runtimes.task import Task

NAME = "ada-run-1"


def python_task(code: str, output: str) -> Task:
    """The task `ada-run-1`; it prints without a buffer."""
    return Task(
        name=NAME,
        command=("python3", "-u", "-c", code),
        output=f"{output}/{NAME}",
        resources=Resources(cpu=0.2, memory=128 * MiB),
        labels={"modelyard.dev/owner": "ada", "modelyard.dev/run": "1"},
    )
