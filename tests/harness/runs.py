"""Runs for the tests: specs, notebooks, snapshots."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

from modelyard_api.resources import MiB, Resources
from modelyard_api.runs import NotebookWork, RunSpec

SMALL = Resources(cpu=1, memory=256 * MiB)


def spec(snapshot: str = "0" * 64, **members: Any) -> RunSpec:
    """A small notebook run; `declared` goes to the notebook."""
    declared = members.pop("declared", None)
    work = NotebookWork(path="train.ipynb", snapshot=snapshot, declared=declared, kernel="python3")
    return RunSpec(**{"notebook": work, "resources": SMALL, **members})


def notebook(*cells: str, parameters: str | None = None, kernel: str | None = "python3") -> str:
    """A notebook of code cells; `parameters` becomes its first, with the tag."""
    sources = [] if parameters is None else [(parameters, ["parameters"])]
    sources += [(cell, []) for cell in cells]
    kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernelspec} if kernel else {},
            "cells": [
                {
                    "id": f"cell-{number}",
                    "cell_type": "code",
                    "source": source,
                    "metadata": {"tags": tags} if tags else {},
                    "execution_count": None,
                    "outputs": [],
                }
                for number, (source, tags) in enumerate(sources)
            ],
        }
    )


def snapshot(**files: str) -> tuple[str, bytes]:
    """Digest and content of a zip; names with `__` for the dot: `train__ipynb`."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return hashlib.sha256(made.getvalue()).hexdigest(), made.getvalue()
