"""The state folder: can it be written, is there room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from modelyard_api.errors import ModelyardError
from modelyard_api.resources import MiB
from modelyard_api.runs import RUNS
from modelyard_hub.doctor.base import Finding, Patient
from modelyard_hub.embedded.home import prepare

LITTLE = 2 * 1024 * MiB
"""Bytes; a handful of packages and the databases' journals."""


def check(patient: Patient) -> Iterator[Finding]:
    """Findings about writing and about free space."""
    home = patient.settings.home
    try:
        prepare(home)
    except ModelyardError as error:
        yield Finding(str(home), error.detail, "the folder's owner, mode or file system", error.remedy)
        return
    free = shutil.disk_usage(home).free
    if free < LITTLE:
        runs = _bytes_below((patient.settings.artifacts or home / "mlflow" / "artifacts") / RUNS)
        yield Finding(
            str(home),
            f"{free // MiB} MiB are free; what runs left takes {runs // MiB} MiB",
            "the disk is nearly full; publishing and logging will fail",
            "Free space: keep runs for fewer days (MODELYARD_RUN_KEEP_DAYS), or delete old model versions in MLflow "
            "and run 'mlflow gc'.",
        )


def _bytes_below(folder: Path) -> int:
    """Of all files; of what goes meanwhile, none."""
    found = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found += os.lstat(os.path.join(where, name)).st_size
    return found
