"""PostgreSQL as an image, where none can be pulled: Debian's package, started as the official image is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.base_image import NAME as BASE
from harness.base_image import base_image
from harness.buildah import buildah, container
from harness.debian import CACHE, alone

TAG = "localhost/modelyard/postgresql:test"
_ARCHIVE = CACHE / "images" / "postgresql-15.tar"
_APT = ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/apt.conf.d")
_START = """#!/bin/sh
# What the official image does with these variables, as far as the chart uses it.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin)
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    "$bin/initdb" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 -D "$PGDATA"
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    rm /tmp/password
fi
exec "$bin/postgres" -D "$PGDATA" -c listen_addresses='*' -c fsync=off
"""


def database_image() -> Path:
    """Its docker archive, made where it is not there yet (about a minute)."""
    with alone("database-image"):
        if not _ARCHIVE.exists():
            base_image()
            _make(_ARCHIVE)
        return _ARCHIVE


def _make(archive: Path) -> None:
    # Overlays: packages write there, and it is not to stay.
    here = [f"--volume={path}:{path}:O" for path in _APT if Path(path).exists()]
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql >/dev/null"
    with container(BASE) as made, tempfile.NamedTemporaryFile("w", suffix=".sh") as start:
        start.write(_START)
        start.flush()
        buildah("run", "--network=host", *here, "--env=DEBIAN_FRONTEND=noninteractive", made, "--", "sh", "-c", install)
        buildah("run", made, "--", "useradd", "--uid", "999", "--no-create-home", "database")
        buildah("copy", "--quiet", "--chmod", "755", made, start.name, "/usr/local/bin/start-postgresql")
        buildah("config", "--user", "999:999", "--entrypoint", '["/usr/local/bin/start-postgresql"]', "--cmd", "", made)
        buildah("config", "--env", "PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin", made)
        buildah("commit", "--quiet", made, TAG)
    pending = archive.with_suffix(".new")
    pending.unlink(missing_ok=True)
    buildah("push", "--quiet", TAG, f"docker-archive:{pending}:{TAG}")
    os.replace(pending, archive)
