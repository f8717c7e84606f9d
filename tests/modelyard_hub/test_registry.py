"""Looking up versions in a registry that speaks MLflow's REST."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.fake_mlflow import FakeMlflow
from harness.web import serving
from modelyard_api.errors import InvalidInput, Unavailable, UnknownVersion
from modelyard_api.models import Flavor, PackageManifest, Signature
from modelyard_hub.artifacts import FolderArtifacts
from modelyard_hub.registry import MlflowRegistry
from modelyard_hub.runtimes.base import Package
from modelyard_hub.signing import Signer

MANIFEST = PackageManifest(
    flavor=Flavor.skops,
    path="modelyard/model.skops",
    task="other",
    signature=Signature(layout="tensor", inputs=(), outputs=()),
).model_dump_json()
CHURN = ("ada.churn", "1")


@pytest.fixture
def mlflow() -> FakeMlflow:
    return FakeMlflow()


@pytest.fixture
async def registry(mlflow: FakeMlflow, tmp_path: Path) -> AsyncIterator[MlflowRegistry]:
    signer = Signer(Ed25519PrivateKey.generate())
    with serving(mlflow.app()) as url:
        async with httpx.AsyncClient(trust_env=False) as http:
            yield MlflowRegistry(http, f"{url}/mlflow", FolderArtifacts(tmp_path / "artifacts"), signer.service_token)


def _package(folder: Path) -> Path:
    (folder / "modelyard").mkdir(parents=True)
    (folder / "modelyard" / "package.json").write_text(MANIFEST)
    return folder


@pytest.mark.parametrize("source", ["mlflow-artifacts:/1/models/m-7/artifacts", "models:/m-7", "file://{}", "{}"])
async def test_every_kind_of_source(mlflow: FakeMlflow, registry: MlflowRegistry, tmp_path: Path, source: str) -> None:
    folder = _package(tmp_path / "artifacts" / "1" / "models" / "m-7" / "artifacts")
    mlflow.versions[CHURN] = source.format(folder)
    mlflow.downloads[CHURN] = "mlflow-artifacts:/1/models/m-7/artifacts"
    found = await registry.resolve(*CHURN)
    assert found == Package(str(folder), *CHURN, Flavor.skops)


async def test_nothing_outside_the_artifact_store(mlflow: FakeMlflow, registry: MlflowRegistry, tmp_path: Path) -> None:
    _package(tmp_path / "elsewhere")
    for source in ("mlflow-artifacts:/../elsewhere", "mlflow-artifacts:/%2e%2e/elsewhere", f"{tmp_path}/elsewhere"):
        mlflow.versions[CHURN] = mlflow.downloads[CHURN] = source
        with pytest.raises(InvalidInput, match="not in the artifact store"):
            await registry.resolve(*CHURN)


async def test_a_version_without_a_package(mlflow: FakeMlflow, registry: MlflowRegistry, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "1").mkdir(parents=True)
    mlflow.versions[CHURN] = "mlflow-artifacts:/1"
    with pytest.raises(InvalidInput, match=r"yard\.publish"):
        await registry.resolve(*CHURN)
    package = _package(tmp_path / "artifacts" / "1")
    (package / "modelyard" / "package.json").write_text("{}")
    with pytest.raises(InvalidInput, match="no package manifest"):
        await registry.resolve(*CHURN)
    mlflow.statuses[CHURN] = "PENDING_REGISTRATION"
    with pytest.raises(InvalidInput, match="PENDING"):
        await registry.resolve(*CHURN)


async def test_unknown_versions_name_what_exists(mlflow: FakeMlflow, registry: MlflowRegistry) -> None:
    mlflow.versions |= {("ada.churn", str(n)): "x" for n in (1, 2, 10)}
    with pytest.raises(UnknownVersion, match="has no version 3; it has 1, 2, 10"):
        await registry.resolve("ada.churn", "3")
    with pytest.raises(UnknownVersion, match=r"no model 'bob\.x'"):
        await registry.resolve("bob.x", "1")
    with pytest.raises(UnknownVersion):
        await registry.resolve("it's", "1")


async def test_mlflow_away() -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        registry = MlflowRegistry(
            http, "http://127.0.0.1:1/mlflow", FolderArtifacts(Path("artifacts")), lambda: "token"
        )
        with pytest.raises(Unavailable, match="MLflow does not answer"):
            await registry.resolve(*CHURN)
