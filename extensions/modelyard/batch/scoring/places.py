"""The place that a location names: a folder of this machine, or a key of an S3 store (AWS_* variables)."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelyard.batch.scoring.folder_place import FolderPlace
from modelyard.batch.scoring.place import File, Place
from modelyard.batch.scoring.s3_place import S3Place
from modelyard_api.errors import InvalidInput, NotFound
from modelyard_api.locations import S3Access, S3Location, parse_s3

_PATIENCE = 60.0


def open_place(location: str, patience: float = _PATIENCE) -> Place:
    """The folder that a location names: an absolute path, `file://…` or `s3://bucket/key`. InvalidInput."""
    s3 = parse_s3(location)
    if s3 is not None:
        return S3Place(s3, S3Access.of(os.environ), patience)
    path = unquote(urlsplit(location).path) if location.startswith("file://") else location
    if not path.startswith("/"):
        raise InvalidInput(
            f"{location!r} is neither an absolute path nor s3://bucket/key",
            remedy="Name it whole: a run does not start in the folder that the notebook is in.",
        )
    return FolderPlace(Path(path))


def open_data(location: str) -> tuple[Place, list[File]]:
    """A place and the files of rows in it: all below a folder, or the one file that `location` is. NotFound.

    Files and folders whose names begin with `_` or `.` are passed over.
    """
    place = open_place(location)
    if isinstance(place, FolderPlace) and place.root.is_file():
        alone = FolderPlace(place.root.parent)
        return alone, [alone.file(place.root.name)]
    found = [file for file in place.files() if not any(part[0] in "._" for part in file.path.split("/"))]
    if not found and isinstance(place, S3Place):
        above, _, name = place.place.key.rpartition("/")
        alone_s3 = S3Place(S3Location(place.place.bucket, above), place.access, place.patience)
        single = [file for file in alone_s3.files() if file.path == name and name]
        if single:
            return alone_s3, single
    if not found:
        there = isinstance(place, FolderPlace) and place.root.exists()
        raise NotFound(f"there are no files in {location}" if there else f"there is no data at {location}")
    return place, found
