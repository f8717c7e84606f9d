"""A run's process starts without what it does not need, and loses nothing by it: in processes of their own, since
imports happen once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.python import python
from harness.runs import notebook

HEAVY = ("lark", "rfc3987_syntax", "boto3", "botocore", "pyarrow", "numpy", "requests", "mlflow")


def test_a_run_starts_without_what_it_does_not_need() -> None:
    imported = set(python("import sys, modelyard.batch.notebook; print(*sys.modules)").split())
    assert {"papermill.execute", "nbclient.client", "nbformat"} <= imported
    assert not imported & set(HEAVY), "a library changed: see modelyard/batch/late.py"


def test_a_submit_neither(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    path.write_text(notebook("print(n)", parameters="n = 1"))
    code = f"""
import sys, pathlib, modelyard.snapshots
assert modelyard.snapshots.take(pathlib.Path({str(path)!r})).work.declared
print(*sys.modules)
"""
    assert not set(python(code).split()) & set(HEAVY)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://bucket/key.ipynb", "papermill.s3 NoCredentialsError"),
        ("http://127.0.0.1:9/a.ipynb", "requests ConnectionError"),
    ],
)
def test_papermill_reads_from_elsewhere_as_ever(place: str, said: str) -> None:
    code = f"""
import os, sys, modelyard.batch.notebook
from papermill.iorw import papermill_io
os.environ |= {{"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/", "AWS_CONFIG_FILE": "/"}}
try:
    papermill_io.read({place!r})
except Exception as error:
    print({said.split()[0]!r} if sys.modules[{said.split()[0]!r}].__file__ else "", type(error).__name__)
"""
    assert python(code).strip() == said


def test_hadoop_is_pyarrows() -> None:
    code = """
import modelyard.batch.notebook
from papermill import iorw
print(type(iorw.FileSelector("/somewhere")).__module__)
"""
    assert python(code).strip() == "pyarrow._fs"
