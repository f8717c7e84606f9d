"""A PostgreSQL server of the tests' own: Debian's binaries, a folder of its own, a Unix socket, gone afterwards."""

from __future__ import annotations

import glob
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

_numbers = itertools.count(1)


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, newest version first; None where PostgreSQL is not installed."""
    packaged = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[-2]), reverse=True)
    on_path = shutil.which("pg_ctl")
    found = [Path(p) for p in packaged] + ([Path(on_path).resolve().parent] if on_path else [])
    return next((p for p in found if (p / "initdb").exists() and (p / "pg_ctl").exists()), None)


@contextmanager
def server() -> Iterator[Postgres]:
    """Start a server; it is stopped and its folder removed at the end."""
    folder = binaries()
    assert folder is not None, "PostgreSQL is not installed; these tests need Debian's package 'postgresql'"
    # A short path: a Unix socket's name is limited to about 100 characters.
    home = Path(tempfile.mkdtemp(prefix="modelyard-pg-"))
    account = _account()
    if account is not None:
        shutil.chown(home, account.pw_uid, account.pw_gid)
    data = home / "data"
    options = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off -c max_connections=60"

    def run(*command: str) -> None:
        _run(command, account, home)

    run(str(folder / "initdb"), "--no-sync", "--auth=trust", "--username=modelyard", "--encoding=UTF8", "-D", str(data))
    pg_ctl = (str(folder / "pg_ctl"), "-D", str(data), "-w")
    run(*pg_ctl, "-l", str(home / "log"), "-o", options, "start")
    try:
        yield Postgres(home)
    finally:
        run(*pg_ctl, "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)


class Postgres:
    """A running server."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def database(self) -> str:
        """A new, empty database's SQLAlchemy URL."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(f"host={self._socket} user=modelyard dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://modelyard@/{name}?host={self._socket}"


def _account() -> pwd.struct_passwd | None:
    """The account to run as: initdb refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("running as root without an account 'postgres' or 'nobody'")


def _run(command: tuple[str, ...], account: pwd.struct_passwd | None, home: Path) -> None:
    identity: dict[str, Any] = (
        {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    )
    with (home / "out").open("ab") as out:  # not a pipe: pg_ctl's server would keep it open
        done = subprocess.run(command, cwd=home, stdout=out, stderr=subprocess.STDOUT, check=False, **identity)
    assert done.returncode == 0, (home / "out").read_text()
