"""Manifests of small workloads on the base image, for tests of what the cluster does."""

from __future__ import annotations

from typing import Any

from harness.base_image import NAME

Manifest = dict[str, Any]

SLEEP = ["python3", "-c", "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"]


def serve(text: str = "import socket; answer = socket.gethostname()") -> list[str]:
    """A command that answers every GET on port 8080 with what `text` makes of `answer`: by default the pod's name."""
    program = f"""
import http.server, signal
{text}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(answer.encode())
    def log_message(self, *_): pass
signal.signal(signal.SIGTERM, lambda *_: exit())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
    return ["python3", "-c", program]


def pod_spec(command: list[str], *, volumes: dict[str, Manifest] | None = None, **container: Any) -> Manifest:
    """One container `main`; `volumes`: by the path that it sees them at."""
    named = {f"volume-{number}": (path, volume) for number, (path, volume) in enumerate((volumes or {}).items())}
    mounts = [{"name": name, "mountPath": path} for name, (path, _) in named.items()]
    main = {"name": "main", "image": NAME, "imagePullPolicy": "IfNotPresent", "command": command, **container}
    return {
        "terminationGracePeriodSeconds": 2,
        "containers": [{**main, "volumeMounts": mounts}],
        "volumes": [{"name": name, **volume} for name, (_, volume) in named.items()],
    }


def pod(name: str, spec: Manifest) -> Manifest:
    """A pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def deployment(name: str, spec: Manifest, replicas: int = 1) -> Manifest:
    """A Deployment whose pods have the label `app`."""
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    wanted = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": wanted}


def service(name: str, port: int = 8080) -> Manifest:
    """A Service in front of the pods with that `app`."""
    spec = {"selector": {"app": name}, "ports": [{"port": port, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def claim(name: str, size: str, storage_class: str) -> Manifest:
    """A PersistentVolumeClaim."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": size}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
