"""Runs workloads as objects of a Kubernetes cluster.

Belongs here: what a workload's objects look like (`manifests`, pure), the cluster's API (`client`, `watch`), what pods
say of replicas (`replicas`, pure), and keeping objects as they should be (`keeper`). Does not belong here: endpoints,
traffic, the store.

A workload is one Secret, its record and root: it holds the server as JSON and the files, and owns everything else.
"""

from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions, Timing
from modelyard_hub.runtimes.kubernetes.runtime import KubernetesRuntime

__all__ = ["KubernetesOptions", "KubernetesRuntime", "Timing"]
