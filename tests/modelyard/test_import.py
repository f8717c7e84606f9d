"""`import modelyard` is light."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("sklearn", "torch", "mlflow", "pandas", "numpy", "httpx", "IPython")


def test_import_loads_nothing_heavy() -> None:
    program = f"import sys, json, modelyard; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(done.stdout) == []


def test_every_public_name_loads() -> None:
    import modelyard

    for name in modelyard.__all__:
        assert getattr(modelyard, name) is not None
    assert callable(modelyard.publish)
    assert callable(modelyard.train)


def test_every_name_that_is_promised_is_there() -> None:
    import modelyard

    assert [name for name in modelyard.__all__ if not hasattr(modelyard, name)] == []
