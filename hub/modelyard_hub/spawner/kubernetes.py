"""Notebook servers as pods: each user's home is a volume, and nothing in a pod may reach the cluster."""

from __future__ import annotations

from typing import Any

from modelyard_api.names import owner_name
from modelyard_hub.profiles import offered
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.choosing.chooser import Chooser
from modelyard_hub.spawner.common import common, queued
from modelyard_hub.spawner.pods import ProfiledPods, around
from modelyard_hub.spawner.queueing.queued import Queued
from modelyard_hub.spawner.resize.resized import ResizedPods
from modelyard_hub.spawner.starts.causes.scheduling import KUEUE_QUEUE
from modelyard_hub.spawner.starts.resuming import ResumedSpawner
from modelyard_hub.spawner.starts.starting import RESERVE

COMPONENT = "notebook"
HOME = "/home/jovyan"
ACCOUNT = 1000
"""User and group of the images."""
QUEUE_TIMEOUT = 24 * 3600
"""Seconds that Kueue may keep a pod waiting."""
STARTING = 64
"""Servers that start at once, unless the settings say another number."""


class PodSpawner(ProfiledPods, Queued, ResizedPods, ResumedSpawner):
    """The spawner whose templates know `{owner}`."""

    def _expand_user_properties(self, template: str, slug_scheme: str | None = None) -> str:
        named = template.replace("{owner}", owner_name(self.user.name))
        expanded: str = super()._expand_user_properties(named, slug_scheme)
        return expanded


def configure_pods(c: Any, settings: Settings) -> None:
    """Fill JupyterHub's config object `c`."""
    common(c, settings)
    c.JupyterHub.spawner_class = PodSpawner
    # What a restarted hub goes on with does not keep it from answering.
    c.JupyterHub.init_spawners_timeout = 2
    pods = c.PodSpawner
    if settings.namespace:
        pods.namespace = settings.namespace
    pods.image = settings.notebook_image
    pods.image_pull_policy = settings.image_pull_policy
    pods.image_pull_secrets = list(settings.image_pull_secrets)
    pods.cmd = ["jupyterhub-singleuser"]
    pods.port = 8888
    pods.notebook_dir = HOME
    pods.http_timeout = 120
    # A start here is over when the server answers.
    pods.start_timeout = settings.notebook_start_timeout + 120 + RESERVE
    pods.delete_grace_period = settings.notebook_grace  # KubeSpawner's own is one second
    pods.environment = environment(settings)
    _size(pods, settings)
    _names(pods)
    _volumes(pods, settings)
    _security(pods, settings)
    _api(c)
    Chooser(offered(settings), around).configure(c)
    queued(c, settings, starting=STARTING)
    if settings.notebook_queue:
        pods.extra_labels = {**pods.extra_labels, KUEUE_QUEUE: settings.notebook_queue}
        pods.queue_timeout = QUEUE_TIMEOUT
        pods.start_timeout += QUEUE_TIMEOUT


def environment(settings: Settings) -> dict[str, str]:
    """What a notebook server is told. Users see `MODELYARD_URL`, which a pod may not be able to reach."""
    told = {"MODELYARD_URL": settings.base_url}
    return told | {"MODELYARD_INNER_URL": settings.inner_url} if settings.inner_url else told


def _size(pods: Any, settings: Settings) -> None:
    pods.cpu_guarantee, pods.cpu_limit = settings.notebook_cpu, settings.notebook_cpu_limit
    # What is not sure to be there is taken away by killing whole pods, others' too.
    pods.mem_guarantee = pods.mem_limit = settings.notebook_memory
    pods.node_selector = dict(settings.notebook_node_selector)
    pods.tolerations = list(settings.notebook_tolerations)
    if settings.notebook_priority_class:
        pods.priority_class_name = settings.notebook_priority_class


def _names(pods: Any) -> None:
    pods.pod_name_template = "notebook-{user_server}"
    pods.pvc_name_template = "home-{owner}"
    pods.component_label = COMPONENT
    pods.common_labels = {
        "app.kubernetes.io/name": "notebook",
        "app.kubernetes.io/part-of": "modelyard",
        "app.kubernetes.io/managed-by": "jupyterhub",
    }
    pods.extra_labels = {"modelyard.dev/owner": "{owner}"}
    pods.storage_extra_labels = {"modelyard.dev/owner": "{owner}"}


def _volumes(pods: Any, settings: Settings) -> None:
    pods.storage_pvc_ensure = False  # HomeSpawner makes it, with a name that nobody else has ever had
    pods.storage_capacity = settings.notebook_storage
    pods.storage_access_modes = [settings.notebook_access_mode]
    if settings.notebook_storage_class:
        pods.storage_class = settings.notebook_storage_class
    pods.delete_pvc = False  # a user's work is not deleted with the user's row: it goes to the trash
    pods.trash_days = settings.volume_trash_days
    pods.shared_volumes = [one.model_dump() for one in settings.shared_volumes]
    pods.volumes = {
        "home": {"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}},
        # Unbounded, it would fill the node's memory; its size counts as the pod's.
        "shm": {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(settings.notebook_shm)}},
    }
    pods.volume_mounts = {
        "home": {"name": "home", "mountPath": HOME},
        "shm": {"name": "shm", "mountPath": "/dev/shm"},
    }


def _security(pods: Any, settings: Settings) -> None:
    """As Kubernetes' `restricted` Pod Security asks, and no way into the cluster."""
    pods.uid = pods.gid = pods.fs_gid = ACCOUNT
    pods.automount_service_account_token = False
    pods.pod_security_context = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        # Else each start walks over all files of a home.
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    pods.container_security_context = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pods.extra_pod_config = {
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.notebook_grace,
    }


def _api(c: Any) -> None:
    """What JupyterHub asks of the API server: nothing that grows with what others do in the namespace."""
    c.PodSpawner.events_enabled = False
    c.PodSpawner.k8s_api_request_timeout = 10
    c.PodSpawner.k8s_api_request_retry_timeout = 60
    # A watch is begun anew with a whole list, every ten seconds unless told.
    c.ResourceReflector.timeout_seconds = 60
    c.ResourceReflector.request_timeout = 90
    c.ResourceReflector.restart_seconds = 120
