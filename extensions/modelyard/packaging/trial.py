"""The trial: the package loads and answers in a fresh process, before anybody else gets to see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.packaging.answers import Answers, compare
from modelyard_api.errors import PublishFailed, TimedOut

_LAST_LINES = 40


class Trial:
    """A running trial of the package in `directory`. Use as a context manager: it never outlives the block."""

    def __init__(self, directory: Path) -> None:
        # -P: the package's own folder must not hide an installed module.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "modelyard_server.trial", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def outputs(self, timeout: float) -> dict[str, list[Any]]:
        """What the package answers to its example: flat values by output. PublishFailed carries the traceback."""
        try:
            out, err = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise TimedOut(
                f"the package did not answer its example within {timeout:g} s in a fresh process",
                remedy="Give trial_timeout=, or make loading the model faster.",
            ) from None
        if self._process.returncode != 0:
            raise _refused(err, self._process.returncode)
        answer: dict[str, list[Any]] = json.loads(out.strip().splitlines()[-1])["outputs"]
        return answer


def trial(
    directory: Path, expected: Answers | None = None, *, tolerance: float = 1e-5, timeout: float = 120.0
) -> dict[str, list[Any]]:
    """Load the package in `directory` in a fresh process and predict its example; flat values by output name.

    `expected`: the original's answers to the same rows; a difference is refused. `timeout` in seconds. Raises
    PublishFailed (with the traceback in its text, and as `traceback`), TimedOut.
    """
    with Trial(directory) as running:
        outputs = running.outputs(timeout)
    if expected is not None:
        check_outputs(outputs, expected, tolerance)
    return outputs


def check_outputs(outputs: dict[str, list[Any]], expected: Answers, tolerance: float) -> None:
    """Raise PublishFailed when a trial's outputs differ from the original's answers."""
    flat = {name: _plain(values) for name, values in expected.items()}
    got = {name: _like(values, flat[name]) for name, values in outputs.items() if name in flat}
    comparison = compare(flat, got, tolerance)
    if comparison.problem:
        raise PublishFailed(
            f"the package answers its example differently in a fresh process: {comparison.problem}",
            remedy="Make the model's answers depend on its input alone, not on this notebook's state.",
        )


def _plain(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    flat = np.asarray(values).ravel()
    return flat.astype("datetime64[ns]").astype(str) if flat.dtype.kind == "M" else flat


def _like(values: list[Any], wanted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if wanted.dtype.kind == "f":
        return np.array([np.nan if v is None else v for v in values], dtype="float64")
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _refused(stderr: str, code: int) -> PublishFailed:
    lines = stderr.strip().splitlines()
    shown = lines if len(lines) <= _LAST_LINES else [lines[0], "  ...", *lines[-_LAST_LINES:]]
    text = "\n".join(shown)
    last = lines[-1] if lines else f"exit status {code}"
    remedy = "Read the traceback: the model has to load where only the package and its requirements are."
    if "ModuleNotFoundError" in last or "No module named" in last:
        remedy = "Name the module's file with code_paths=[...], or its package with requirements=[...]."
    return PublishFailed(f"the package does not load in a fresh process: {last}\n{text}", remedy=remedy, traceback=text)
