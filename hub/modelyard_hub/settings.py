"""Every setting of the hub side, once: name, unit, default, help. Read once, at a program's start.

From the environment as `MODELYARD_<NAME>`, else from the TOML file that `MODELYARD_CONFIG` names (by default
`modelyard.toml` in the state folder), else the default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from modelyard_api.locations import parse_s3
from modelyard_api.resources import MiB


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
    start_timeout: float = Field(120.0, gt=0, description="Seconds a model server has to get ready.")
    drain_timeout: float = Field(10.0, ge=0, description="Seconds a model server has to finish its requests.")
    crash_loop_after: int = Field(3, ge=1, description="Failed starts in a row that make a crash loop.")
    log_size: int = Field(10 * MiB, ge=MiB, description="Bytes of a replica's log file before it is rotated.")
    log_files: int = Field(3, ge=1, description="Rotated log files kept per replica.")
    traefik_api_url: str = Field("", description="URL of Traefik's API, as the hub service reaches it.")
    routing_token: SecretStr = Field(SecretStr(""), description="Bearer with which Traefik pulls the routing document.")
    signing_key: Path | None = Field(None, description="PEM file of the Ed25519 key that signs call tokens.")
    artifacts: Path | None = Field(None, description="Directory of MLflow's artifacts.")
    artifacts_url: str = Field("", description="s3://BUCKET/PREFIX of MLflow's artifacts, with keys and endpoint in "
                                               "the AWS_* variables; empty: the directory.")  # fmt: skip
    runtime: Literal["local", "kubernetes"] = Field("local", description="What runs endpoints: `local` (processes on "
                                                                         "this machine) or `kubernetes`.")  # fmt: skip
    namespace: str = Field("", description="Namespace of the workloads; empty: the hub's own.")
    kubeconfig: Path | None = Field(None, description="File that tells how to reach the cluster; "
                                                      "none: the pod's service account.")  # fmt: skip
    server_image: str = Field("", description="Image of model servers on Kubernetes.")
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
    leave_notice: float = Field(
        5.0, ge=0, description="Seconds between a model pod's leaving the route and its SIGTERM."
    )
    autoscale_cpu: int = Field(
        80, ge=1, le=100, description="Percent of the CPU limit that an autoscaled endpoint aims at."
    )

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
