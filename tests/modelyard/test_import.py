"""`import modelyard` is light."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("sklearn", "torch", "mlflow", "pandas", "numpy", "httpx", "IPython")


def test_import_loads_nothing_heavy_within_half_a_second() -> None:
    program = (
        "import sys, time, json; begun = time.perf_counter(); import modelyard; "
        f"print(json.dumps([time.perf_counter() - begun, [m for m in {HEAVY!r} if m in sys.modules]]))"
    )
    seconds, loaded = json.loads(
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    )
    assert loaded == []
    assert seconds < 0.5


def test_every_public_name_loads() -> None:
    import modelyard

    for name in modelyard.__all__:
        assert getattr(modelyard, name) is not None
    assert callable(modelyard.publish)
    assert callable(modelyard.train)
