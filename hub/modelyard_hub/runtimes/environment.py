"""The variables of a model server's process, the same whichever runtime starts it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard_api.names import grpc_port
from modelyard_hub.runtimes.base import Server
from modelyard_hub.settings import Settings

ACCESS_FILE = "access.json"
"""Name of the file that says who may call, among a server's files."""
OWNERS_CHOICE = ("MODELYARD_SERVER_ACCESS_LOG", "MODELYARD_SERVER_OTLP_URL", "MODELYARD_SERVER_TRACE_SHARE")
"""Our variables that an endpoint's owner may set too."""
_REVISION = "modelyard.dev/revision"


@dataclass(frozen=True)
class Place:
    """Where a server finds its things and listens. `access`: the access file, used where the server has one;
    `max_body` in bytes, `start_timeout` and `drain_timeout` in seconds; `watch`: variables of what is told of requests;
    `grpc`: whether it listens for that too, on the port beside."""

    package: str
    host: str
    port: int
    access: str
    max_body: int
    start_timeout: float
    drain_timeout: float
    watch: Mapping[str, str] = field(default_factory=dict)
    grpc: bool = False


def watch(settings: Settings) -> dict[str, str]:
    """The variables that the administrator's settings ask for; none where nothing is told of requests."""
    found = {"MODELYARD_SERVER_ACCESS_LOG": "true"} if settings.serve_access_log else {}
    if settings.serve_otlp_url:
        found["MODELYARD_SERVER_OTLP_URL"] = settings.serve_otlp_url
        found["MODELYARD_SERVER_TRACE_SHARE"] = str(settings.serve_trace_share)
    return found


def load_timeout(start_timeout: float) -> float:
    """Seconds that a model may take to load. Less than its server has to get ready, so that the server can say why."""
    return 0.9 * start_timeout


def loaded_too_late(start_timeout: float) -> str:
    """Why a server ended with EXIT_LOAD_TIMEOUT."""
    return f"Its model was not loaded within {load_timeout(start_timeout):g} s, nine tenths of MODELYARD_START_TIMEOUT."


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
        "MODELYARD_SERVER_LOAD_TIMEOUT": str(load_timeout(place.start_timeout)),
        "MODELYARD_SERVER_DRAIN_TIMEOUT": str(place.drain_timeout),
    }
    if place.grpc:
        ours["MODELYARD_SERVER_GRPC_PORT"] = str(grpc_port(place.port))
    if ACCESS_FILE in server.files:
        ours["MODELYARD_SERVER_ACCESS"] = place.access
    owners = {k: v for k, v in server.environment.items() if k in OWNERS_CHOICE or not k.startswith("MODELYARD_")}
    return {"OMP_NUM_THREADS": threads, **place.watch, **owners, **ours}
