"""Who may do what in MLflow: the guard in front of a real application that notes what reaches it."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard_api.endpoints import Identity
from modelyard_api.errors import Forbidden, MalformedRequest
from modelyard_hub.mlflow_app import MlflowGuard, Receive, Send, changes_model, model_names
from modelyard_hub.signing import Signer, load_or_make

MODELS = "/mlflow/api/2.0/mlflow/registered-models"
ADA = Identity(username="ada", owner="ada", groups=("team",))
ADMIN = Identity(username="admin", owner="admin", admin=True)


class Reached:
    """Answers 200 with the path and the body that it was given."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"").decode()
        answer = json.dumps({"path": scope["path"], "body": body}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return load_or_make(tmp_path / "key.pem")


@pytest.fixture
def mlflow(signer: Signer) -> httpx.AsyncClient:
    guard: Any = MlflowGuard(Reached(), signer.public_pem)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://mlflow")


def as_(signer: Signer, who: Identity) -> dict[str, str]:
    return {"X-Modelyard-Token": signer.mlflow_token(who)}


@pytest.mark.parametrize("path", ["/mlflow/", f"{MODELS}/get", "/mlflow/api/2.0/mlflow-artifacts/artifacts/health"])
async def test_without_a_token_nothing_passes(mlflow: httpx.AsyncClient, path: str) -> None:
    answer = await mlflow.get(path)
    assert answer.status_code == 401
    assert answer.json()["error_code"] == "UNAUTHENTICATED"


async def test_health_is_open(mlflow: httpx.AsyncClient) -> None:
    assert (await mlflow.get("/mlflow/health")).status_code == 200


async def test_a_call_token_is_no_mlflow_token(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    headers = {"X-Modelyard-Token": signer.call_token(ADA, 60).token}
    assert (await mlflow.get("/mlflow/", headers=headers)).status_code == 401


@pytest.mark.parametrize(("name", "status"), [("ada.churn", 200), ("team.churn", 200), ("ben.churn", 403), ("x", 403)])
async def test_models_are_written_by_their_owners(
    mlflow: httpx.AsyncClient, signer: Signer, name: str, status: int
) -> None:
    answer = await mlflow.post(f"{MODELS}/create", json={"name": name}, headers=as_(signer, ADA))
    assert answer.status_code == status
    if status == 200:
        assert json.loads(answer.json()["body"]) == {"name": name}
    else:
        assert name in answer.json()["message"]


async def test_administrators_write_all(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    answer = await mlflow.post(f"{MODELS}/create", json={"name": "ben.churn"}, headers=as_(signer, ADMIN))
    assert answer.status_code == 200


@pytest.mark.parametrize("member", ["new_name", "newName"])
async def test_a_model_is_not_renamed_into_somebody_elses(
    mlflow: httpx.AsyncClient, signer: Signer, member: str
) -> None:
    body = {"name": "ada.churn", member: "ben.churn"}
    assert (await mlflow.post(f"{MODELS}/rename", json=body, headers=as_(signer, ADA))).status_code == 403


async def test_the_query_does_not_hide_what_the_body_names(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    body = json.dumps(json.dumps({"name": "ben.churn"}))
    answer = await mlflow.post(f"{MODELS}/create?name=ada.churn", content=body, headers=as_(signer, ADA))
    assert answer.status_code == 403


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": 3}', b'{"new_name": "ada.x"}'])
def test_a_change_names_a_model(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        model_names(body)


@pytest.mark.parametrize(
    ("method", "path", "changes"),
    [
        ("POST", f"{MODELS}/create", True),
        ("POST", f"{MODELS}/alias", True),
        ("DELETE", "/mlflow/ajax-api/2.0/mlflow/model-versions/delete", True),
        ("POST", f"{MODELS}/get-latest-versions", False),
        ("GET", f"{MODELS}/alias", False),
        ("POST", "/mlflow/api/2.0/mlflow/runs/create", False),
    ],
)
def test_what_changes_the_registry(method: str, path: str, changes: bool) -> None:
    assert changes_model(method, path) is changes


async def test_tools_that_act_as_the_server_are_for_administrators(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    path = "/mlflow/ajax-api/3.0/mlflow/assistant/message"
    assert (await mlflow.post(path, headers=as_(signer, ADA))).status_code == Forbidden.status
    assert (await mlflow.post(path, headers=as_(signer, ADMIN))).status_code == 200


async def test_artifacts_reach_the_streaming_routes(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/f"
    answer = await mlflow.get(f"/mlflow{path}", headers=as_(signer, ADA))
    assert answer.json()["path"] == path
