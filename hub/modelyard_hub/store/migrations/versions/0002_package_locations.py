"""Packages by location (a path or an s3:// URL) instead of by path, each with its flavor.

Until now all packages were folders that the hub service reads, so their flavors are still to be had here. Where a
folder is gone, the flavor stays unknown: nothing but a column of the panel depends on it.
"""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ENDPOINTS = sa.table("endpoints", sa.column("id", sa.Integer), sa.column("packages", sa.JSON))


def upgrade() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.select(_ENDPOINTS)).all():
        packages = {number: _moved(package) for number, package in row.packages.items()}
        connection.execute(sa.update(_ENDPOINTS).where(_ENDPOINTS.c.id == row.id).values(packages=packages))


def _moved(package: dict[str, Any]) -> dict[str, Any]:
    path = package["path"]
    return {
        "location": path,
        "model": package["model"],
        "version": package["version"],
        "flavor": _flavor(Path(path) / "modelyard" / "package.json"),
    }


def _flavor(manifest: Path) -> str | None:
    try:
        found = json.loads(manifest.read_bytes())["flavor"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # What this schema knows: a flavor of some later version in a damaged file must not keep the store from opening.
    return found if found in ("onnx", "torch", "skops", "pyfunc") else None
