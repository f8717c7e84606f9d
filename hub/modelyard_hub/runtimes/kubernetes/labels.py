"""Labels and annotations of the runtime's objects. Pure."""

from __future__ import annotations

from modelyard_hub.runtimes.base import Server

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
INSTANCE = "app.kubernetes.io/instance"
TEMPLATE = "modelyard.dev/template"
FILES = "modelyard.dev/files"

OURS = {MANAGED_BY: "modelyard", COMPONENT: "model-server"}
SELECTOR = ",".join(f"{k}={v}" for k, v in OURS.items())
"""What the runtime lists and watches by."""


def object_labels(server: Server) -> dict[str, str]:
    """Labels of all objects of a server, its pods included."""
    named = {"app.kubernetes.io/name": "model-server", "app.kubernetes.io/part-of": "modelyard"}
    return {**server.labels, **named, **OURS, INSTANCE: server.name}


def selector(server: Server) -> dict[str, str]:
    """By what its Deployment and Service know their pods; a Deployment's can never change."""
    return {**OURS, INSTANCE: server.name}
