"""What runs in the MLflow process (`python -m modelyard_hub.mlflow_app`): MLflow with the guard around it.

MLflow's own auth app keeps users and permissions of its own, which would have to follow JupyterHub's; this keeps none.

It is one process: `mlflow server` would import MLflow twice, in itself and in its worker, which takes twice the time to
start and twice the memory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from modelyard_hub.mlflow_experiments import StoreExperiments
from modelyard_hub.mlflow_guard import PREFIX, Asgi, MlflowGuard
from modelyard_hub.settings import Settings

PUBLIC_KEY_VARIABLE = "MODELYARD_PUBLIC_KEY"
_ARTIFACTS_VARIABLE = "_MLFLOW_SERVER_ARTIFACT_DESTINATION"


def create_app() -> Asgi:
    """MLflow's application with the guard around it; `MODELYARD_PUBLIC_KEY` names the PEM file of the public key."""
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import _get_tracking_store

    artifacts = os.environ[_ARTIFACTS_VARIABLE]
    return MlflowGuard(
        app,
        Path(os.environ[PUBLIC_KEY_VARIABLE]).read_text(),
        StoreExperiments(_get_tracking_store),
        None if "://" in artifacts else Path(artifacts),
    )


def server_environment(database: str, artifacts: str, base_url: str, *others: str) -> dict[str, str]:
    """What `mlflow server` tells its workers, for a server at `/mlflow` behind the router at `base_url`.

    `artifacts` is a directory or `s3://bucket/prefix`, which needs the extra `s3`; keys and endpoint of the S3 store
    come from the AWS_* variables. `others`: URLs at which the router, or this server, is reached as well.
    """
    hosts = [urlsplit(url).netloc for url in (base_url, *others) if url]
    return {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        _ARTIFACTS_VARIABLE: artifacts,
        "_MLFLOW_STATIC_PREFIX": PREFIX,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join((*hosts, "localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*")),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": base_url,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def from_settings(settings: Settings) -> dict[str, str]:
    """What `server_environment` gives for these settings."""
    artifacts = settings.artifacts_url or settings.artifacts or settings.home / "mlflow" / "artifacts"
    return server_environment(
        settings.mlflow_store_url, str(artifacts), settings.base_url, settings.inner_url, settings.mlflow_url
    )


def main(port: int) -> None:
    """Serve until SIGTERM, on loopback unless told."""
    import gc

    settings = Settings()
    os.environ.update(from_settings(settings))
    # Whoever asks tries again, and is told why they wait.
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "2")

    gc.disable()  # nothing that imports make is garbage; looking for it takes a tenth of the time
    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    store = os.environ["_MLFLOW_SERVER_FILE_STORE"]
    initialize_backend_stores(store, store, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])
    app = create_app()
    gc.freeze()
    gc.enable()
    host = settings.listen or "127.0.0.1"
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main(int(sys.argv[1]))
