"""Artifacts in S3, with the real parts: MLflow keeps a package there, the registry finds it, the runtime serves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.runtime import gone, ready, until
from harness.local import LocalYard
from harness.packages import write_skops
from harness.s3 import S3, server
from harness.traefik import free_port
from harness.wait import eventually
from modelyard_api.access import Access
from modelyard_api.endpoints import Identity
from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_api.models import MANIFEST_PATH, Flavor
from modelyard_api.resources import MiB, Resources
from modelyard_hub.artifacts_s3 import S3Artifacts
from modelyard_hub.mlflow_app import PUBLIC_KEY_VARIABLE
from modelyard_hub.registry import TOKEN_HEADER, MlflowRegistry
from modelyard_hub.runtimes.base import Package, Phase
from modelyard_hub.runtimes.local import LocalOptions, stop_everything
from modelyard_hub.signing import Signer, load_or_make

STORE = "s3://yard/mlflow"
ADA = Identity(username="ada", owner="ada", groups=(), scopes=("custom:modelyard:write",))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with server() as running:
        running.bucket("yard")
        yield running


@pytest.fixture
def reached(s3: S3, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The hub service's own environment names the store."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[LocalYard]:
    made = LocalYard(tmp_path)
    await made.runtime.open()
    yield made
    await made.runtime.close()
    stop_everything(made.home, 1.0)


@contextmanager
def mlflow(folder: Path, signer: Signer, s3: S3) -> Iterator[str]:
    """MLflow as production runs it, its artifacts in S3; its URL with the prefix."""
    port = free_port()
    (folder / "public.pem").write_text(signer.public_pem)
    environment = (
        {**os.environ, PUBLIC_KEY_VARIABLE: str(folder / "public.pem"), "MODELYARD_HOME": str(folder)}
        | {"MODELYARD_MLFLOW_DATABASE_URL": f"sqlite:///{folder}/mlflow.sqlite", "MODELYARD_ARTIFACTS_URL": STORE}
        | {"MODELYARD_MLFLOW_URL": f"http://127.0.0.1:{port}/mlflow"}
        | s3.environment
    )
    command = [sys.executable, "-W", "ignore", "-m", "modelyard_hub.mlflow_app", str(port)]
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/mlflow"
    try:
        eventually(lambda: httpx.get(f"{url}/health", trust_env=False).is_success, timeout=90, what="MLflow")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def publish(url: str, token: str, package: Path) -> str:
    """Upload a package and register it as ada.churn, through MLflow alone; the version."""
    with httpx.Client(headers={TOKEN_HEADER: token}, trust_env=False, timeout=60) as client:

        def call(path: str, **body: Any) -> Any:
            answer = client.post(f"{url}/api/2.0/mlflow/{path}", json=body)
            assert answer.is_success, answer.text
            return answer.json()

        experiment = call("experiments/create", name="ada/churn")["experiment_id"]
        run = call("runs/create", experiment_id=experiment)["run"]["info"]
        for file in (p for p in package.rglob("*") if p.is_file()):
            path = f"{experiment}/{run['run_id']}/artifacts/packages/m-1/{file.relative_to(package).as_posix()}"
            sent = client.put(f"{url}/api/2.0/mlflow-artifacts/artifacts/{path}", content=file.read_bytes())
            assert sent.is_success, sent.text
        call("registered-models/create", name="ada.churn")
        source = f"{run['artifact_uri']}/packages/m-1"
        made = call("model-versions/create", name="ada.churn", source=source, run_id=run["run_id"])
        return str(made["model_version"]["version"])


@pytest.mark.usefixtures("reached")
async def test_from_mlflow_to_an_answer(s3: S3, tmp_path: Path, yard: LocalYard) -> None:
    signer = load_or_make(tmp_path / "key.pem")
    write_skops(tmp_path / "package")
    with mlflow(tmp_path, signer, s3) as url:
        version = publish(url, signer.mlflow_token(ADA), tmp_path / "package")
        async with httpx.AsyncClient(trust_env=False) as http:
            registry = MlflowRegistry(http, url, S3Artifacts(STORE), signer.service_token)
            package = await registry.resolve("ada.churn", version)
    assert package.location.startswith(f"{STORE}/")
    assert (package.model, package.version, package.flavor) == ("ada.churn", version, Flavor.skops)

    await yard.runtime.close()
    yard.options = LocalOptions(timing=replace(yard.options.timing, start_timeout=60.0, probe_timeout=5.0))
    await yard.reopen()
    access = Access(owner="ada", public_keys=(signer.public_pem,)).model_dump_json()
    wanted = yard.server(
        package=package, replicas=2, resources=Resources(memory=512 * MiB), files={"access.json": access}
    )
    await yard.runtime.apply(wanted)
    address = (await until(yard, wanted.name, ready(2))).replicas[0].address
    async with httpx.AsyncClient(base_url=str(address), trust_env=False, timeout=30) as client:
        row = {"dataframe_records": [{"weight": 2.5, "age": 3, "island": "north"}]}
        token = signer.call_token(ADA, 60).token
        answer = await client.post("/invocations", json=row, headers={"Authorization": f"Bearer {token}"})
    assert json.loads(answer.text)["predictions"][0] in ("no", "yes")
    await yard.runtime.delete(wanted.name)
    await gone(yard, wanted.name)
    assert not list(yard.root.glob("ada-churn-1*"))


@pytest.mark.usefixtures("reached")
async def test_a_package_that_is_gone_is_told(yard: LocalYard) -> None:
    wanted = yard.server(package=Package(f"{STORE}/none", "ada.churn", "1"))
    await yard.runtime.apply(wanted)
    observed = await until(yard, wanted.name, lambda o: o.replicas and o.replicas[0].phase is Phase.crash_loop)
    assert "nothing at s3://yard/mlflow/none" in observed.replicas[0].message


async def test_reading_from_the_store(s3: S3, reached: pytest.MonkeyPatch) -> None:
    url = s3.put("yard", "mlflow/1/m", {MANIFEST_PATH: b"{}"})
    artifacts = S3Artifacts(STORE)
    assert await artifacts.read(url, MANIFEST_PATH) == b"{}"
    assert await artifacts.read(url, "other") is None
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        await artifacts.read("s3://nowhere/m", MANIFEST_PATH)
    reached.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Unavailable, match="SignatureDoesNotMatch"):
        await artifacts.read(url, MANIFEST_PATH)


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("mlflow-artifacts:/1/models/m-7/artifacts", f"{STORE}/1/models/m-7/artifacts"),
        ("mlflow-artifacts:/1/a%20b", f"{STORE}/1/a b"),
        (f"{STORE}/1/m", f"{STORE}/1/m"),
        ("s3://yard/mlflow-of-others/m", None),
        ("s3://other/mlflow/m", None),
        ("s3://yard/mlflow/../secrets", None),
        ("mlflow-artifacts:/../secrets", None),
        ("mlflow-artifacts:/%2e%2e/secrets", None),
        ("/etc", None),
        ("file:///etc", None),
    ],
)
def test_only_what_is_below_the_store(uri: str, location: str | None) -> None:
    assert S3Artifacts(STORE).locate(uri) == location


def test_what_is_no_s3_store_is_refused() -> None:
    with pytest.raises(InvalidInput, match="s3://bucket/prefix"):
        S3Artifacts("https://example.org/yard")
