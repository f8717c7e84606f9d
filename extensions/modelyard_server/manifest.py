"""Reading a package's manifest. Light: what fetches packages imports it, and loads none."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from modelyard_api.errors import InvalidInput
from modelyard_api.models import FORMAT_VERSION, MANIFEST_PATH, PackageManifest


def read_manifest(directory: Path) -> PackageManifest:
    """The package's manifest. Raises InvalidInput when it is missing, malformed, or of a newer format."""
    path = directory / MANIFEST_PATH
    try:
        manifest = PackageManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InvalidInput(f"no {MANIFEST_PATH} in the package", remedy="Publish it with yard.publish.") from None
    except ValidationError as error:
        raise InvalidInput(f"{MANIFEST_PATH} is not a package manifest: {error}") from error
    if manifest.format > FORMAT_VERSION:
        raise InvalidInput(
            f"the package has format {manifest.format}, this server reads up to {FORMAT_VERSION}",
            remedy="Update the model server.",
        )
    return manifest
