"""Every setting of the hub side, once: name, unit, default, help. Read once, at a program's start.

From the environment as `MODELYARD_<NAME>`, else from the TOML file that `MODELYARD_CONFIG` names (by default
`modelyard.toml` in the state folder), else the default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from modelyard_api.locations import parse_s3
from modelyard_api.resources import MiB
from modelyard_api.volumes import SharedVolume, SnapshotPlan


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class Settings(BaseSettings):
    """Settings of `modelyard up`, JupyterHub's configuration and the hub service."""

    model_config = SettingsConfigDict(env_prefix="MODELYARD_", extra="forbid", frozen=True)

    home: Path = Field(Path(".modelyard"), description="Folder of all state of the embedded default.")
    host: str = Field("127.0.0.1", description="Address that the router listens on. Notebook servers trust each other "
                                               "here: keep it on loopback.")  # fmt: skip
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8000, description="Port that the router listens on.")
    database_url: str = Field("", description="SQLAlchemy URL of the store; empty: SQLite in the state folder.")
    public_url: AnyHttpUrl | None = Field(None, description="URL that users type, if not http://HOST:PORT.")
    group: str = Field("team", description="Group that every user who signs in with the shared password joins.")
    admin_username: str = Field("admin", description="Name of the administrator of the embedded default.")
    username: str = Field("ada", description="Name of the user that the embedded default shows at start; "
                                             "any other name works with the same password.")  # fmt: skip
    mlflow_url: str = Field("", description="URL of the MLflow server as the hub service reaches it; "
                                            "empty: the one that was started beside it.")  # fmt: skip
    notebooks: Path | None = Field(None, description="Folder of notebooks placed in each user's folder.")
    reconcile_resync: float = Field(30.0, gt=0, description="Seconds between full passes of the reconciler.")
    call_token_lifetime: int = Field(900, ge=60, le=86400, description="Seconds a call token is valid.")
    identity_cache: float = Field(30.0, ge=0, description="Seconds an identity that the hub confirmed is trusted.")
    max_body: int = Field(4 * MiB, ge=1024, description="Bytes of a REST request body.")
    serve_max_body: int = Field(64 * MiB, ge=1024, description="Bytes of a request body to a model server.")
    serve_access_log: bool = Field(False, description="Whether model servers write a line for each request.")
    serve_grpc: bool = Field(False, description="Whether endpoints answer gRPC too (docs/serving.md).")
    serve_otlp_url: str = Field("", description="URL of the OpenTelemetry collector that gets their traces; "
                                                "empty: none are made.")  # fmt: skip
    serve_trace_share: float = Field(1.0, ge=0, le=1, description="Share of the requests that are traced, of those "
                                                                  "whose caller says nothing of it.")  # fmt: skip
    start_timeout: float = Field(
        120.0, gt=0, description="Seconds a model server has to get ready, its model nine tenths of them to load."
    )
    drain_timeout: float = Field(10.0, ge=0, description="Seconds a model server has to finish its requests.")
    crash_loop_after: int = Field(3, ge=1, description="Failed starts in a row that make a crash loop.")
    log_size: int = Field(10 * MiB, ge=MiB, description="Bytes of a replica's log file before it is rotated.")
    log_files: int = Field(3, ge=1, description="Rotated log files kept per replica.")
    traefik_api_url: str = Field("", description="URL of Traefik's API, as the hub service reaches it.")
    routing_token: SecretStr = Field(SecretStr(""), description="Bearer with which Traefik pulls the routing document.")
    signing_key: Path | None = Field(None, description="PEM file of the Ed25519 key that signs call tokens.")
    vault_keys: Path | None = Field(None, description="File with the keys of secrets, one a line: the first seals, all "
                                                     "open; none: made in the state folder.")  # fmt: skip
    artifacts: Path | None = Field(None, description="Directory of MLflow's artifacts.")
    artifacts_url: str = Field("", description="s3://BUCKET/PREFIX of MLflow's artifacts, with keys and endpoint in "
                                               "the AWS_* variables; empty: the directory.")  # fmt: skip
    runtime: Literal["local", "kubernetes"] = Field("local", description="What runs endpoints: `local` (processes on "
                                                                         "this machine) or `kubernetes`.")  # fmt: skip
    namespace: str = Field("", description="Namespace of the workloads; empty: the hub's own.")
    kubeconfig: Path | None = Field(None, description="File that tells how to reach the cluster; "
                                                      "none: the pod's service account.")  # fmt: skip
    server_image: str = Field("", description="Image of model servers on Kubernetes.")
    server_onnx_image: str = Field("", description="Image of those whose package is an ONNX graph, which need less; "
                                                   "empty: the same.")  # fmt: skip
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="When nodes pull images.")  # fmt: skip
    image_pull_secrets: tuple[str, ...] = Field((), description="Secrets for pulling images, as a JSON list.")
    artifacts_claim: str = Field("", description="Volume claim that model pods mount read-only at `ARTIFACTS`.")
    artifacts_secret: str = Field(
        "", description="Secret with the AWS_* variables with which model pods fetch packages."
    )
    priority_class: str = Field("", description="Priority class of model pods.")
    gpu_resource: str = Field("nvidia.com/gpu", description="Resource by which the cluster counts GPUs.")
    server_shm: int = Field(64 * MiB, ge=MiB, description="Bytes of a model pod's /dev/shm, part of its memory.")
    task_scratch: int = Field(20 * 1024 * MiB, ge=64 * MiB, description="Bytes of disk that a task's pod may use.")
    run_slots: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Runs at once, 0: any number. Not set: any number on Kubernetes, on one machine as many as "
                          "it has cores.")  # fmt: skip
    run_snapshot_max: int = Field(32 * MiB, ge=1024, description="Bytes of a run's notebook and the files that go "
                                                                 "with it, packed.")  # fmt: skip
    run_keep_days: float = Field(
        90.0, ge=0, description="Days that runs are kept after their end, with what they left; 0: for ever."
    )
    run_keep_last: int = Field(20, ge=0, description="Runs of a schedule that are kept however old they are.")
    watch_folders: tuple[Path, ...] = Field(
        (), description="Folders, mounted in the hub service, that schedules may watch on Kubernetes, as JSON."
    )
    server_cpu_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Part of its CPUs that a model pod is sure of; it uses all while the node has them.",
    )
    leave_notice: float = Field(
        5.0, ge=0, description="Seconds between a model pod's leaving the route and its SIGTERM."
    )
    autoscale_cpu: int = Field(
        80, ge=1, le=100, description="Percent of the CPU limit that an autoscaled endpoint aims at."
    )

    # In a cluster: how the parts find each other, and what a notebook server is.
    listen: str = Field("", description="Address that JupyterHub, the hub service and MLflow listen on, such as "
                                        "`0.0.0.0` in a pod; empty: loopback.")  # fmt: skip
    inner_url: str = Field("", description="URL of the router as pods reach it; empty: as users do.")
    entrypoints: tuple[str, ...] = Field(("web",), description="Traefik's entry points that all routes have, as JSON.")
    hub_url: str = Field("", description="URL of JupyterHub as notebook pods and the router reach it.")
    secrets: Path | None = Field(None, description="Folder with a file per secret, such as a mounted Secret; "
                                                   "none: made once, in the state folder.")  # fmt: skip
    hub_database_url: SecretStr = Field(SecretStr(""), description="SQLAlchemy URL of JupyterHub's database; "
                                                                   "empty: SQLite in the state folder.")  # fmt: skip
    mlflow_database_url: SecretStr = Field(SecretStr(""), description="SQLAlchemy URL of MLflow's database; "
                                                                      "empty: SQLite in the state folder.")  # fmt: skip
    hub_config: Path | None = Field(None, description="Folder of further JupyterHub configuration (`*.py`), read in "
                                                      "the order of names after ours.")  # fmt: skip
    profiles: Path | None = Field(None, description="File with the profiles, TOML or JSON (docs/profiles.md); "
                                                    "none: the built-in ones.")  # fmt: skip
    notebook_warm: bool = Field(True, description="Whether, on one machine, a process is kept that notebook servers "
                                                  "are forked from: they start in a second.")  # fmt: skip
    cull: bool = Field(True, description="Whether notebook servers are ended in which nothing is at work "
                                         "(docs/notebook-servers.md).")  # fmt: skip
    cull_idle: float = Field(3600.0, ge=1, description="Seconds without work after which one is ended.")
    cull_countdown: float = Field(
        600.0, ge=1, description="Seconds before it is ended, from which on its user is told."
    )
    cull_keep: float = Field(7200.0, ge=0, description="Seconds for which its user may have it kept at a time; 0: not.")
    cull_keep_limit: float = Field(43200.0, ge=0, description="Seconds after the last work from which on it is not "
                                                              "kept any more.")  # fmt: skip
    notebook_image: str = Field("", description="Image of notebook servers.")
    notebook_gpu_image: str = Field("", description="Image of notebook servers with GPUs; empty: none of the built-in "
                                                    "profiles has GPUs.")  # fmt: skip
    notebook_cpu: float = Field(0.5, ge=0, description="CPUs that a notebook server is sure of.")
    notebook_cpu_limit: float = Field(2.0, gt=0, description="CPUs that a notebook server may use.")
    notebook_memory: int = Field(2048 * MiB, ge=256 * MiB, description="Bytes of memory that a notebook server is sure "
                                                                       "of and may use.")  # fmt: skip
    notebook_shm: int = Field(256 * MiB, ge=MiB, description="Bytes of a notebook server's /dev/shm, part of its "
                                                             "memory.")  # fmt: skip
    notebook_storage: str = Field("10Gi", description="Size of a user's home volume, when it is made.")
    notebook_storage_class: str = Field("", description="Storage class of home volumes; empty: the cluster's default.")
    notebook_access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"] = Field(
        "ReadWriteOnce", description="How a home volume is attached.")  # fmt: skip
    volume_max: int = Field(
        1024 * 1024 * MiB, ge=MiB, description="Bytes up to which users make and grow volumes; administrators more."
    )
    volume_count: int = Field(20, ge=0, description="Further volumes that a user may have.")
    volume_snapshot_count: int = Field(
        20, ge=0, description="Snapshots of a volume that its owner may take beside those by the clock."
    )
    volume_trash_days: int = Field(
        30, ge=1, description="Days that volumes are kept in the trash, also those of deleted servers and users."
    )
    volume_snapshot_class: str = Field("", description="Class of snapshots; empty: the cluster's default.")
    volume_snapshots: SnapshotPlan | None = Field(
        None, description="Snapshots of all homes by the clock, unless a volume has a plan of its own, as JSON such as "
                          "{\"every_hours\": 24, \"keep\": 7}; none: none.")  # fmt: skip
    shared_volumes: tuple[SharedVolume, ...] = Field(
        (), description="Data volumes for members of groups (docs/volumes.md), as JSON."
    )
    notebook_grace: int = Field(30, ge=1, description="Seconds that a notebook server has to end, such as to save.")
    notebook_start_timeout: int = Field(600, ge=10, description="Seconds that a notebook pod has to run: image, volume "
                                                                "and node included.")  # fmt: skip
    named_servers: int = Field(3, ge=0, description="Further notebook servers that a user may have, each with a name.")
    concurrent_starts: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Notebook servers that start at once, 0: any number. Others wait in a queue. Not set: 64 on "
        "Kubernetes, on one machine twice as many as it has cores.",
    )
    active_servers: int = Field(0, ge=0, description="Notebook servers that start or run at once, 0: any number. "
                                                     "Others wait in the queue.")  # fmt: skip
    group_shares: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="Share of each group in the queue, as JSON, against 1 of all users who are in none of them."
    )
    notebook_queue: str = Field("", description="Kueue's LocalQueue for notebook pods and tasks; empty: none.")
    notebook_node_selector: dict[str, str] = Field({}, description="Labels of the nodes for notebook pods, as JSON.")
    notebook_tolerations: tuple[dict[str, Any], ...] = Field((), description="Tolerations of notebook pods, as JSON.")
    notebook_priority_class: str = Field("", description="Priority class of notebook pods.")

    @field_validator("home")
    @classmethod
    def _home(cls, value: Path) -> Path:
        return _absolute(value)

    @field_validator("artifacts_url")
    @classmethod
    def _artifacts_url(cls, value: str) -> str:
        if value and parse_s3(value) is None:
            raise ValueError("it is no s3://bucket/prefix")
        return value.rstrip("/")

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store, with the default filled in."""
        return self.database_url or f"sqlite:///{self.home / 'store.sqlite'}"

    @property
    def base_url(self) -> str:
        """URL that users type, without a trailing slash."""
        return str(self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def hub_store_url(self) -> str:
        """SQLAlchemy URL of JupyterHub's database, with the default filled in."""
        return self.hub_database_url.get_secret_value() or f"sqlite:///{self.home / 'jupyterhub.sqlite'}"

    @property
    def mlflow_store_url(self) -> str:
        """SQLAlchemy URL of MLflow's database, with the default filled in."""
        return self.mlflow_database_url.get_secret_value() or f"sqlite:///{self.home / 'mlflow' / 'mlflow.sqlite'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = Path(os.environ.get("MODELYARD_HOME", ".modelyard"))
        toml = Path(os.environ.get("MODELYARD_CONFIG", home / "modelyard.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml)
