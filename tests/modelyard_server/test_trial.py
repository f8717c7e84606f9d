"""The trial that publishing runs: one JSON line, or the traceback and exit code 3."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.packages import write_onnx
from modelyard_api.models import MANIFEST_PATH


def trial(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelyard_server.trial", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_answers_the_stored_example(tmp_path: Path) -> None:
    write_onnx(tmp_path / "p")
    done = trial(tmp_path / "p")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (0, True)
    assert answer["outputs"]["label"] == ["no", "no"]
    assert sum(answer["outputs"]["probabilities"]) == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize(
    ("broken", "said"), [("modelyard/model.onnx", "INVALID_PROTOBUF"), (MANIFEST_PATH, "manifest")]
)
def test_a_package_that_does_not_load_shows_why(tmp_path: Path, broken: str, said: str) -> None:
    write_onnx(tmp_path / "p")
    (tmp_path / "p" / broken).write_text("{")
    done = trial(tmp_path / "p")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" in done.stderr
    assert said in done.stderr
