"""Names: what an owner, an endpoint and a registered model may be called."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from modelyard_api.errors import InvalidName

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_HELP = "1 to 63 characters: lower-case letters, digits and '-', beginning and ending with a letter or a digit"
ENDPOINT_HEADER = "X-Modelyard-Endpoint"
"""Metadata of a gRPC call that the router takes: the endpoint as `owner/name`, for its path is the protocol's."""
EXIT_LOAD_TIMEOUT = 5
"""Exit code of a model server whose model did not load in time."""
GRPC_SERVICE = "inference.GRPCInferenceService"
REVISION_HEADER = "X-Modelyard-Revision"
"""Request header that sends one call to a revision by number, whatever the traffic says."""


def is_label(name: str) -> bool:
    """Whether `name` is a DNS label (RFC 1123)."""
    return _LABEL.fullmatch(name) is not None


def check_label(name: str, what: str = "name") -> str:
    """Return `name`; raise InvalidName when it is not a DNS label."""
    if not is_label(name):
        raise InvalidName(f"{what} {name!r} is not a DNS label", remedy=f"Use {LABEL_HELP}.")
    return name


def _label_or_value_error(name: str) -> str:
    if not is_label(name):
        raise ValueError(f"{name!r} is not a DNS label; use {LABEL_HELP}")
    return name


Label = Annotated[str, AfterValidator(_label_or_value_error), Field(examples=["churn"])]


def owner_name(username: str) -> str:
    """The owner that a JupyterHub user or group stands for: its name, or a readable label with a digest.

    Distinct names give distinct owners: a name that had to be changed carries eight hex digits of its SHA-256.
    """
    if is_label(username) and len(username) <= 40 and not re.search(r"--[0-9a-f]{8}$", username):
        return username
    readable = re.sub(r"[^a-z0-9]+", "-", username.lower()).strip("-")[:30].strip("-") or "user"
    return f"{readable}--{hashlib.sha256(username.encode()).hexdigest()[:8]}"


def registered_model(owner: str, name: str) -> str:
    """The name in the registry of `name`, with the owner added where it is left out: `<owner>.<name>`."""
    return name if "." in name else f"{owner}.{name}"


def model_owner(registered: str) -> str | None:
    """The owner part of a registered model's name; None where it has none."""
    owner, dot, rest = registered.partition(".")
    return owner if dot and rest else None


def experiment_owner(name: str) -> str | None:
    """The owner part of an experiment's name `<owner>/<name>`; None where it has none."""
    owner, slash, rest = name.partition("/")
    return owner if slash and rest else None


def grpc_port(port: int) -> int:
    """The port of gRPC of a model server that the hub started, by its port of HTTP."""
    return port + 1


def serve_path(owner: str, endpoint: str) -> str:
    """The path of an endpoint behind the router, without a trailing slash."""
    return f"/serve/{owner}/{endpoint}"
