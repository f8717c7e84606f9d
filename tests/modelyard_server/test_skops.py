"""The skops flavor in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.packages import write_skops

_LOAD = """
import sys
from pathlib import Path
from modelyard_server.dataplane import load
load(Path(sys.argv[1]))
assert "torch" not in sys.modules, "PyTorch was imported for a scikit-learn model"
import sklearn.externals.array_api_compat.torch
"""


def test_a_scikit_learn_model_is_served_without_pytorch(tmp_path: Path) -> None:
    write_skops(tmp_path / "package")
    done = subprocess.run([sys.executable, "-c", _LOAD, str(tmp_path / "package")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_server_without_the_library_names_the_image_that_has_it(tmp_path: Path) -> None:
    write_skops(tmp_path / "package")
    program = "import sys; sys.modules['skops'] = None\n" + _LOAD
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "package")], capture_output=True, text=True)
    assert "this model server has no skops, which a package of the flavor skops needs" in done.stderr
    assert "Serve it with the image `server`, not `server-onnx`" in done.stderr
