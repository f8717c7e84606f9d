"""A package into MLflow: uploaded to a run, registered as the next version of `<owner>.<name>`.

Blocking, and imports mlflow only when called. MLflow's client reads its token and its patience from the environment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.connection import Connection
from modelyard_api.errors import Forbidden, ModelyardError, Unauthenticated, Unavailable

_ENVIRONMENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
_lock = threading.RLock()


@dataclass(frozen=True)
class Registered:
    """A version in the registry, and the run that it came from."""

    model: str
    version: str
    run_id: str
    experiment_id: str


@contextmanager
def tracking(connection: Connection) -> Iterator[Any]:
    """MLflow's client for this connection. Its errors become ours. One at a time: it reads the environment."""
    import mlflow.exceptions
    from mlflow import MlflowClient

    wanted = {"MLFLOW_TRACKING_TOKEN": connection.token, **_ENVIRONMENT}
    if connection.loopback:
        wanted |= {"NO_PROXY": _with_loopback("NO_PROXY"), "no_proxy": _with_loopback("no_proxy")}
    with _lock:
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield MlflowClient(f"{connection.url}/mlflow", f"{connection.url}/mlflow")
        except mlflow.exceptions.MlflowException as error:
            raise _translated(error, connection) from error
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def upload(client: Any, directory: Path, *, experiment: str, run_id: str | None) -> tuple[str, str, str]:
    """Put the package under `model` of the run (a new one when None): the run's id, its experiment, the source."""
    if run_id is None:
        run = client.create_run(experiment_id(client, experiment), tags=_TAGS)
    else:
        run = client.get_run(run_id)
    # A further publish of the same run must not change the files of a version that is registered already.
    folder = "model"
    if run_id is not None and any(f.path == "model" for f in client.list_artifacts(run_id)):
        folder = f"model-{os.urandom(4).hex()}"
    client.log_artifacts(run.info.run_id, str(directory), folder)
    if run_id is None:
        client.set_terminated(run.info.run_id)
    return run.info.run_id, run.info.experiment_id, f"{run.info.artifact_uri.rstrip('/')}/{folder}"


def register(client: Any, model: str, source: str, run_id: str) -> str:
    """The next version of that registered model, made when it is absent."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return str(client.create_model_version(model, source, run_id=run_id, await_creation_for=0).version)


def experiment_id(client: Any, name: str) -> str:
    """The experiment of that name, made when it is absent."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(client.get_experiment_by_name(name).experiment_id)


_TAGS = {"mlflow.source.name": "modelyard", "mlflow.source.type": "NOTEBOOK"}


def _with_loopback(variable: str) -> str:
    return ",".join(filter(None, (os.environ.get(variable), "localhost,127.0.0.1,::1")))


def _translated(error: Any, connection: Connection) -> ModelyardError:
    text = " ".join(str(error).split())[:500]
    code = getattr(error, "error_code", "")
    if code == "UNAUTHENTICATED" or "401" in text[:80]:
        return Unauthenticated(f"MLflow refused the token: {text}")
    if code == "PERMISSION_DENIED" or "403" in text[:80]:
        return Forbidden(f"MLflow refused: {text}")
    if (
        "Max retries exceeded" in text
        or "Connection" in text
        or "too many 50" in text
        or code == "TEMPORARILY_UNAVAILABLE"
    ):
        return Unavailable(f"MLflow does not answer at {connection.url}/mlflow: {text}")
    return ModelyardError(f"MLflow: {text}")
