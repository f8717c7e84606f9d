"""Every setting of a model server, once. From the environment as `MODELYARD_SERVER_<NAME>`, read once at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelyard_server.device import Device

PREFIX = "MODELYARD_SERVER_"


class ServerSettings(BaseModel):
    """Set by the runtime that starts the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: Path = Field(description="Folder of the package.")
    endpoint: str = Field(description="Name of the endpoint; the model's name in the protocol.")
    model: str = Field("", description="Registered model.")
    version: str = Field("1", description="Version in the registry; empty: the name of the package's folder.")
    revision: int = Field(1, description="Number of the revision; answered as X-Modelyard-Revision.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8080, description="Port to listen on.")
    grpc_port: int | None = Field(None, ge=1, le=65535, description="Port of gRPC; not set: none.")
    access: Path | None = Field(None, description="access.json: who may call.")
    open: bool = Field(False, description="Answer everybody. Only for tests and benchmarks.")
    max_body: int = Field(64 * 1024 * 1024, ge=1024, description="Bytes of a request body, after decompression.")
    max_rows: int = Field(1_000_000, ge=1, description="Rows of one request.")
    max_connections: int = Field(4096, ge=1, description="Open connections; more are answered 503.")
    max_delay: float = Field(
        0.0, ge=0, le=1, description="Seconds that a batch waits for more requests; 0: a lone request never waits."
    )
    max_batch: int = Field(4096, ge=1, description="Rows of one batch.")
    max_queue: int = Field(512, ge=1, description="Requests that may wait; more are answered 503.")
    patience: float = Field(
        20.0,
        gt=0,
        description="Seconds for a request to come and for an answer to be taken; slower callers are cut off.",
    )
    threads: int = Field(1, ge=1, description="Threads of the model's own arithmetic.")
    device: Device = Field(
        "auto",
        description="Where the model computes: cpu, cuda (refused where there is none), or auto: CUDA where it can.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes of a model that is Python, each with the model in its memory; ONNX needs none.",
    )
    load_timeout: float = Field(
        120.0,
        gt=0,
        description="Seconds for a model to be loaded and warm; then its process is ended, and started again.",
    )
    memory: int | None = Field(None, ge=1, description="Bytes this server may use; the runtime enforces it.")
    drain_timeout: float = Field(10.0, ge=0, description="Seconds to finish requests after SIGTERM.")

    access_log: bool = Field(False, description="Whether each request has a line of JSON on the standard output.")
    otlp_url: str = Field("", description="URL of the OpenTelemetry collector that gets traces; empty: none are made.")
    trace_share: float = Field(
        1.0, ge=0, le=1, description="Share of the requests that are traced, of those whose caller says nothing of it."
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.access is None and not self.open:
            raise ValueError("access is not set: name the access file, or set open to answer everybody")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """ValidationError names what is wrong; unknown `MODELYARD_SERVER_*` names are refused."""
        found = {k.removeprefix(PREFIX).lower(): v for k, v in environment.items() if k.startswith(PREFIX)}
        return cls.model_validate(found)
