"""A run's process starts without what it does not need, and loses nothing by it: in processes of their own, since
imports happen once."""

from __future__ import annotations

from pathlib import Path

from harness.python import python
from harness.runs import notebook

HEAVY = ("lark", "rfc3987_syntax", "boto3", "botocore", "pyarrow", "numpy", "mlflow")


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


def test_papermill_reads_from_s3_as_ever() -> None:
    code = """
import os, sys, modelyard.batch.notebook
from papermill.iorw import papermill_io
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/", "AWS_CONFIG_FILE": "/"}
try:
    papermill_io.read("s3://bucket/key.ipynb")
except Exception as error:
    print(sys.modules["papermill.s3"].__file__ != "", type(error).__name__)
"""
    assert python(code).strip() == "True NoCredentialsError"


def test_hadoop_is_pyarrows() -> None:
    code = """
import modelyard.batch.notebook
from papermill import iorw
print(type(iorw.FileSelector("/somewhere")).__module__)
"""
    assert python(code).strip() == "pyarrow._fs"
