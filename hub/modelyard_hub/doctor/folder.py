"""The state folder: can it be written, is there room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from modelyard_api.errors import ModelyardError
from modelyard_api.resources import MiB
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
        yield Finding(
            str(home),
            f"{free // MiB} MiB are free",
            "the disk is nearly full; publishing and logging will fail",
            "Free space, or delete old model versions in MLflow and run 'mlflow gc'.",
        )
