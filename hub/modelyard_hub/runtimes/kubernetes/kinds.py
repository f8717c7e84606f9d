"""The kinds of objects that the runtime touches, and where the API has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
"""An object of the cluster, as JSON."""


@dataclass(frozen=True)
class Kind:
    """One kind; `group` is empty for the core group."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """As an object says it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """Path of an object, or of all of the kind."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


SECRET = Kind("Secret", "secrets")
DEPLOYMENT = Kind("Deployment", "deployments", "apps")
JOB = Kind("Job", "jobs", "batch")
POD = Kind("Pod", "pods")
SERVICE = Kind("Service", "services")
BUDGET = Kind("PodDisruptionBudget", "poddisruptionbudgets", "policy")
AUTOSCALER = Kind("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2")
EVENT = Kind("Event", "events")
CLAIM = Kind("PersistentVolumeClaim", "persistentvolumeclaims")
SNAPSHOT = Kind("VolumeSnapshot", "volumesnapshots", "snapshot.storage.k8s.io")

WATCHED = (SECRET, DEPLOYMENT, JOB, POD, SERVICE, BUDGET, AUTOSCALER)
OWNED = (SERVICE, BUDGET, AUTOSCALER, DEPLOYMENT)
"""What a workload's Secret owns, in the order in which it is made."""
