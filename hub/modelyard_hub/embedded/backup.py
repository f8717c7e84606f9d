"""Save and bring back the state of the embedded default: databases, artifacts, users' folders, secrets."""

from __future__ import annotations

import os
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from modelyard_api.errors import Conflict, InvalidInput, ModelyardError, NotFound, StorageFull
from modelyard_hub.settings import Settings

MANIFEST = "modelyard-backup"
_DATABASES = ("store.sqlite", "jupyterhub.sqlite", "mlflow/mlflow.sqlite")
_FOLDERS = ("mlflow/artifacts", "users", "volumes", "secrets")
_FILES = ("modelyard.toml",)
_SKIPPED = {".cache", "__pycache__", "runtime"}


def backup(settings: Settings, target: Path) -> None:
    """Write everything that cannot be made again to `target` (tar, gzip, mode 0600). It may run meanwhile.

    Databases come first: what they name is in the folders by then. Raises NotFound without a state folder, Conflict
    when `target` exists, InvalidInput when the store is not in the state folder, StorageFull.
    """
    home = settings.home
    if not (home / "store.sqlite").exists():
        raise NotFound(f"there is no store in {home}", remedy="Name its folder with MODELYARD_HOME.")
    if settings.database_url:
        raise InvalidInput(
            "the store is not in the state folder", remedy="Save it with its own tools, such as pg_dump."
        )
    try:
        with (
            tempfile.TemporaryDirectory(dir=home) as folder,
            os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive,
        ):
            note = Path(folder) / MANIFEST
            note.write_text(f"{home}\n")
            archive.add(note, MANIFEST)
            for name in _DATABASES:
                if (home / name).exists():
                    archive.add(_snapshot(home / name, Path(folder) / "copy.sqlite"), name)
            for name in (*_FOLDERS, *_FILES):
                if (home / name).exists():
                    archive.add(home / name, name, filter=_keep)
    except FileExistsError:
        raise Conflict(f"{target} exists", remedy="Name another file.") from None
    except OSError as error:
        target.unlink(missing_ok=True)
        raise StorageFull(f"{target} cannot be written: {error.strerror}") from error


def _snapshot(source: Path, copy: Path) -> Path:
    """A consistent copy of a database that others write to."""
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(copy)) as writer:
        reader.backup(writer)
    return copy


def _keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    skipped = not _SKIPPED.isdisjoint(Path(member.name).parts)
    return member if not skipped and (member.isfile() or member.isdir()) else None


def restore(settings: Settings, source: Path) -> None:
    """Bring a backup back into an empty or absent state folder.

    Raises NotFound without `source`, Conflict when the folder holds something, InvalidInput when it is no backup.
    """
    home = settings.home
    if home.exists() and any(home.iterdir()):
        raise Conflict(f"{home} is not empty", remedy="Set MODELYARD_HOME to a new folder.")
    try:
        with tarfile.open(source) as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST:
                raise InvalidInput(f"{source} is no backup of Modelyard")
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            archive.extractall(home, filter="data")
    except FileNotFoundError:
        raise NotFound(f"there is no file {source}") from None
    except tarfile.TarError as error:
        raise InvalidInput(f"{source} is no backup of Modelyard: {error}") from error
    except OSError as error:
        raise ModelyardError(f"{home} cannot be written: {error.strerror}") from error
    before = (home / MANIFEST).read_text().strip()
    (home / MANIFEST).unlink()
    if before != str(home):
        _move(home / "store.sqlite", f"{before}/", f"{home}/")


def _move(store: Path, before: str, after: str) -> None:
    """The store names packages by their paths."""
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE endpoints SET packages = replace(packages, ?, ?)", (before, after))
