"""What may be chosen about the Kubernetes runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard_api.models import Flavor
from modelyard_api.resources import MiB
from modelyard_hub.backoff import Backoff
from modelyard_hub.runtimes.environment import watch
from modelyard_hub.settings import Settings


@dataclass(frozen=True)
class Timing:
    """Seconds. `deliver`: for what a task leaves, when it is ended; `deliver_every`: between deliveries of its log;
    `deliver_patience`: for its results, when it ended by itself; `task_start`: from a node to the start of its command,
    images included. `notice`: between a pod's leaving and its SIGTERM, in which the router looks away. `healthy_after`:
    a replica that ran this long does not crash in a loop. `watch`: after which the cluster ends a watch that is begun
    again at once; silence of `silence` more is a cluster that is away."""

    start_timeout: float = 120.0
    drain_timeout: float = 10.0
    notice: float = 5.0
    margin: float = 5.0
    deliver: float = 30.0
    deliver_every: float = 5.0
    deliver_patience: float = 3600.0
    task_start: float = 600.0
    starting_poll: int = 1
    ready_poll: int = 5
    live_poll: int = 10
    probe_timeout: int = 5
    healthy_after: float = 600.0
    request: float = 15.0
    watch: float = 60.0
    silence: float = 15.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.2, cap=15.0, jitter=0.5))

    @property
    def grace(self) -> int:
        """Seconds from a pod's leaving to its SIGKILL."""
        return math.ceil(self.notice + self.drain_timeout + self.margin)


@dataclass(frozen=True)
class KubernetesOptions:
    """Options of `KubernetesRuntime`. `namespace` empty: the one of the pod that this runs in; `kubeconfig` None: its
    service account. `artifacts`: where `artifacts_claim` is mounted for fetching packages. `shm` in bytes. `cpu_share`:
    what part of its CPU limit a pod is sure of; `autoscale_cpu` in percent of that limit. `command` and `fetch` run a
    replica and fetch its package; the image's own entry where `command` is empty, and `fetch` is given the source and
    the target. `task` runs a task's command, in `task_image` (empty: `image`) where the task names none, and delivers
    what it leaves; `task_scratch`: bytes of disk that it may use; `task_queue`: Kueue's LocalQueue for it."""

    namespace: str = ""
    kubeconfig: Path | None = None
    image: str = ""
    onnx_image: str = ""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    artifacts: str = ""
    artifacts_claim: str = ""
    artifacts_secret: str = ""
    priority_class: str = ""
    gpu_resource: str = "nvidia.com/gpu"
    shm: int = 64 * MiB
    max_body: int = 64 * MiB
    watch: Mapping[str, str] = field(default_factory=dict)
    grpc: bool = False
    cpu_share: float = 0.5
    autoscale_cpu: int = 80
    crash_loop_after: int = 3
    tail_lines: int = 20
    command: tuple[str, ...] = ()
    task: tuple[str, ...] = ("python", "-m", "modelyard_server.task")
    task_image: str = ""
    task_scratch: int = 20 * 1024 * MiB
    task_queue: str = ""
    # Soon enough to be told why it waits; the kubelet tries again.
    fetch: tuple[str, ...] = ("python", "-m", "modelyard_server.fetch", "--patience", "20")
    timing: Timing = field(default_factory=Timing)

    def image_for(self, flavor: Flavor | None) -> str:
        """The image that serves packages of `flavor`; `onnx_image` has no libraries of Python's own models."""
        return self.onnx_image if self.onnx_image and flavor is Flavor.onnx else self.image

    @classmethod
    def from_settings(cls, settings: Settings) -> KubernetesOptions:
        """The options that the hub side's settings ask for."""
        return cls(
            namespace=settings.namespace,
            kubeconfig=settings.kubeconfig,
            image=settings.server_image,
            onnx_image=settings.server_onnx_image,
            image_pull_policy=settings.image_pull_policy,
            image_pull_secrets=tuple(settings.image_pull_secrets),
            artifacts=str(settings.artifacts or ""),
            artifacts_claim=settings.artifacts_claim,
            artifacts_secret=settings.artifacts_secret,
            priority_class=settings.priority_class,
            gpu_resource=settings.gpu_resource,
            shm=settings.server_shm,
            max_body=settings.serve_max_body,
            watch=watch(settings),
            grpc=settings.serve_grpc,
            cpu_share=settings.server_cpu_share,
            autoscale_cpu=settings.autoscale_cpu,
            crash_loop_after=settings.crash_loop_after,
            task_image=settings.notebook_image,
            task_scratch=settings.task_scratch,
            task_queue=settings.notebook_queue,
            timing=Timing(
                start_timeout=settings.start_timeout,
                drain_timeout=settings.drain_timeout,
                notice=settings.leave_notice,
            ),
        )
