"""The variables of a model server's process, the same whichever runtime starts it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard_hub.runtimes.base import Server

ACCESS_FILE = "access.json"
"""Name of the file that says who may call, among a server's files."""
_REVISION = "modelyard.dev/revision"


@dataclass(frozen=True)
class Place:
    """Where a server finds its things and listens. `access`: the access file, used where the server has one;
    `max_body` in bytes, `drain_timeout` in seconds."""

    package: str
    host: str
    port: int
    access: str
    max_body: int
    drain_timeout: float


def server_environment(server: Server, place: Place) -> dict[str, str]:
    """The owner's variables and ours. None of the owner's is one that is ours to say (such as to answer everybody)."""
    threads = str(max(1, round(server.resources.cpu)))
    ours = {
        "PYTHONUNBUFFERED": "1",
        "MODELYARD_SERVER_PACKAGE": place.package,
        "MODELYARD_SERVER_ENDPOINT": server.endpoint,
        "MODELYARD_SERVER_MODEL": server.package.model,
        "MODELYARD_SERVER_VERSION": server.package.version,
        "MODELYARD_SERVER_REVISION": server.labels.get(_REVISION, "1"),
        "MODELYARD_SERVER_HOST": place.host,
        "MODELYARD_SERVER_PORT": str(place.port),
        "MODELYARD_SERVER_THREADS": threads,
        # A GPU that nobody gave this server is somebody else's.
        "MODELYARD_SERVER_DEVICE": "auto" if server.resources.gpu else "cpu",
        "MODELYARD_SERVER_MAX_BODY": str(place.max_body),
        "MODELYARD_SERVER_DRAIN_TIMEOUT": str(place.drain_timeout),
    }
    if ACCESS_FILE in server.files:
        ours["MODELYARD_SERVER_ACCESS"] = place.access
    owners = {k: v for k, v in server.environment.items() if not k.startswith("MODELYARD_")}
    return {"OMP_NUM_THREADS": threads, **owners, **ours}
