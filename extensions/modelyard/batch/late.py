"""What papermill imports, and a run's process and a submit need later or never: `modelyard.late` tells how.

More than half of a short run was these. `tests/modelyard/batch/test_late.py` tells where a library changed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from modelyard.late import SCHEMAS, later, modules

# Where notebooks may lie: a run's lie in its folder.
STORES: Mapping[str, Mapping[str, Any]] = {
    "papermill.s3": {"S3": later("papermill.s3", "S3")},
    "pyarrow.fs": {name: later("pyarrow.fs", name) for name in ("FileSelector", "HadoopFileSystem")},
}


def import_papermill() -> None:
    """And nbformat, which reads notebooks."""
    if "papermill.execute" in sys.modules:
        return
    with modules({**SCHEMAS, **STORES}):
        import_module("papermill.execute")
