"""A `Server` as JSON, for a runtime's record of what it was told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from modelyard_api.models import Flavor
from modelyard_api.resources import Resources
from modelyard_hub.runtimes.base import Package, Server


def server_to_json(server: Server) -> dict[str, Any]:
    """All of it, files included."""
    return {
        "name": server.name,
        "endpoint": server.endpoint,
        "package": asdict(server.package),
        "resources": server.resources.model_dump(mode="json"),
        "replicas": server.replicas,
        "max_replicas": server.max_replicas,
        "environment": dict(server.environment),
        "files": dict(server.files),
        "labels": dict(server.labels),
    }


def server_from_json(data: Mapping[str, Any]) -> Server:
    """The opposite. Raises KeyError, TypeError, ValueError for what no `server_to_json` wrote."""
    return Server(
        name=data["name"],
        endpoint=data["endpoint"],
        package=_package(data["package"]),
        resources=Resources.model_validate(data["resources"]),
        replicas=data["replicas"],
        max_replicas=data.get("max_replicas", 0),
        environment=data["environment"],
        files=data["files"],
        labels=data["labels"],
    )


def _package(data: Mapping[str, Any]) -> Package:
    # A replica of an earlier version is taken up too; that one said `path` and kept no flavor.
    location = data["location"] if "location" in data else data["path"]
    flavor = data.get("flavor")
    return Package(location, data["model"], data["version"], None if flavor is None else Flavor(flavor))
