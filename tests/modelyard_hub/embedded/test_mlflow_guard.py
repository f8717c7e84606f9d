"""Who may do what in MLflow: the guard, with MLflow's real store, before an application that notes what reaches it."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.disk import small_disk
from modelyard_api.endpoints import Identity
from modelyard_api.errors import MalformedRequest, NotFound
from modelyard_api.resources import MiB
from modelyard_hub.auth import ADMIN as ADMIN_SCOPE
from modelyard_hub.auth import READ, WRITE
from modelyard_hub.mlflow_experiments import NAME_CACHE, StoreExperiments
from modelyard_hub.mlflow_guard import MlflowGuard, Receive, Send
from modelyard_hub.mlflow_rules import Kind, Subject, body_members, changes
from modelyard_hub.signing import Signer, load_or_make

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own queries
API = "/mlflow/api/2.0/mlflow"
MODELS = f"{API}/registered-models"
ARTIFACTS = "/mlflow/api/2.0/mlflow-artifacts"
ADA = Identity(username="ada", owner="ada", groups=("team",), scopes=(READ, WRITE))
READER = Identity(username="ada", owner="ada", groups=("team",), scopes=(READ,))
ADMIN = Identity(username="admin", owner="admin", admin=True, scopes=(ADMIN_SCOPE,))


class Reached:
    """Answers 200 with the path and the body that it was given."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"").decode()
        answer = json.dumps({"path": scope["path"], "body": body}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})


class Tracked:
    """MLflow's store with an experiment for each of ada, team and ben: ids of it, and of what is in it, by owner."""

    def __init__(self, folder: Path) -> None:
        from mlflow.entities import TraceInfo, TraceLocation, TraceState
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        self.store = SqlAlchemyStore(f"sqlite:///{folder}/mlflow.sqlite", str(folder / "artifacts"))
        self.experiment, self.run, self.model, self.trace = {}, {}, {}, {}
        for owner in ("ada", "team", "ben"):
            number = self.experiment[owner] = self.store.create_experiment(f"{owner}/churn")
            self.run[owner] = self.store.create_run(number, owner, 0, [], "run").info.run_id
            self.model[owner] = self.store.create_logged_model(number, name="m").model_id
            place = TraceLocation.from_experiment_id(number)
            trace = TraceInfo(f"tr-{owner}", place, 0, TraceState.OK)
            self.trace[owner] = self.store.start_trace(trace).trace_id


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    return Tracked(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return load_or_make(tmp_path / "key.pem")


@pytest.fixture
def mlflow(signer: Signer, tracked: Tracked) -> httpx.AsyncClient:
    return guarded(signer, tracked)


def guarded(signer: Signer, tracked: Tracked, artifacts: Path | None = None) -> httpx.AsyncClient:
    experiments = StoreExperiments(lambda: tracked.store)
    guard: Any = MlflowGuard(Reached(), signer.public_pem, experiments, artifacts)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://mlflow")


def as_(signer: Signer, who: Identity) -> dict[str, str]:
    return {"X-Modelyard-Token": signer.mlflow_token(who)}


@pytest.mark.parametrize("path", ["/mlflow/", f"{MODELS}/get", f"{ARTIFACTS}/artifacts/health"])
async def test_without_a_token_nothing_passes(mlflow: httpx.AsyncClient, path: str) -> None:
    answer = await mlflow.get(path)
    assert answer.status_code == 401
    assert answer.json()["error_code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(("path", "status"), [(f"{ARTIFACTS}/artifacts/1/m", 503), (f"{MODELS}/get", 500)])
async def test_a_mistake_with_artifacts_is_the_stores_and_goes_by(
    signer: Signer, tracked: Tracked, path: str, status: int
) -> None:
    async def broken(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"Internal Server Error"})

    guard: Any = MlflowGuard(broken, signer.public_pem, StoreExperiments(lambda: tracked.store))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://mlflow") as mlflow:
        answer = await mlflow.get(path, headers=as_(signer, ADA))
    assert answer.status_code == status
    if status == 503:
        assert answer.json()["detail"] == "MLflow cannot reach its artifact store"
        assert answer.json()["remedy"]
        assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"


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


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("experiments/create", "ada/churn", 200),
        ("experiments/create", "team/churn", 200),
        ("experiments/create", "ben/churn", 403),
        ("experiments/create", "churn", 403),
        ("experiments/create", "ada/", 403),
    ],
)
async def test_experiments_are_made_by_their_owners(
    mlflow: httpx.AsyncClient, signer: Signer, path: str, name: str, status: int
) -> None:
    answer = await mlflow.post(f"{API}/{path}", json={"name": name}, headers=as_(signer, ADA))
    assert answer.status_code == status, answer.text
    elsewhere = {"name": name, "artifact_location": "mlflow-artifacts:/1"}
    assert (await mlflow.post(f"{API}/{path}", json=elsewhere, headers=as_(signer, ADA))).status_code == 403


WRITES = [
    ("POST", "experiments/set-experiment-tag", "experiment_id", "experiment"),
    ("POST", "experiments/delete", "experimentId", "experiment"),
    ("POST", "runs/create", "experiment_id", "experiment"),
    ("POST", "runs/log-batch", "run_id", "run"),
    ("POST", "runs/update", "run_uuid", "run"),
    ("POST", "runs/set-tag", "runId", "run"),
    ("POST", "logged-models", "experiment_id", "experiment"),
    ("POST", "artifacts/presigned-upload-url", "model_id", "model"),
    ("POST", "traces/delete-traces", "experiment_id", "experiment"),
]


@pytest.mark.parametrize(("method", "path", "member", "what"), WRITES)
async def test_what_is_in_an_experiment_is_written_by_its_owners(
    mlflow: httpx.AsyncClient, signer: Signer, tracked: Tracked, method: str, path: str, member: str, what: str
) -> None:
    for owner, status in {"ada": 200, "team": 200, "ben": 403}.items():
        body = {member: getattr(tracked, what)[owner]}
        answer = await mlflow.request(method, f"{API}/{path}", json=body, headers=as_(signer, ADA))
        assert answer.status_code == status, answer.text
        assert (status == 200) or "belongs to 'ben'" in answer.json()["message"]
        assert (await mlflow.request(method, f"{API}/{path}", json=body, headers=as_(signer, ADMIN))).is_success
        refused = await mlflow.request(method, f"{API}/{path}", json=body, headers=as_(signer, READER))
        assert refused.status_code == 403
        assert WRITE in refused.json()["message"]


PATHS = [
    ("PUT", ARTIFACTS + "/artifacts/{experiment}/{run}/artifacts/f"),
    ("DELETE", ARTIFACTS + "/artifacts/{experiment}/{run}/artifacts/f"),
    ("POST", ARTIFACTS + "/mpu/create/{experiment}/{run}/artifacts/f"),
    ("POST", "/mlflow/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=f"),
    ("PATCH", API + "/logged-models/{model}"),
    ("PATCH", "/mlflow/api/3.0/mlflow/traces/{trace}/tags"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_what_a_path_names_is_written_by_its_owners(
    mlflow: httpx.AsyncClient, signer: Signer, tracked: Tracked, method: str, path: str
) -> None:
    for owner, status in {"ada": 200, "team": 200, "ben": 403}.items():
        named = {kind: getattr(tracked, kind)[owner] for kind in ("experiment", "run", "model", "trace")}
        for who, expected in {"ada": status, "reader": 403, "admin": 200}.items():
            identity = {"ada": ADA, "reader": READER, "admin": ADMIN}[who]
            answer = await mlflow.request(method, path.format(**named), headers=as_(signer, identity))
            assert answer.status_code == expected, (who, owner, answer.text)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("runs/log-metric", {"run_id": "ada run", "runId": "ben run"}),
        ("runs/log-metric", {"run_id": "ada run", "run_uuid": "ben run"}),
        ("runs/log-batch", {"run_id": "ada run", "metrics": [{"key": "x", "model_id": "ben model"}]}),
        ("experiments/update", {"experiment_id": "ada experiment", "new_name": "ben/churn"}),
        ("experiments/update", {"experiment_id": "ada experiment", "newName": "churn"}),
        ("registered-models/rename", {"name": "ada.churn", "new_name": "ben.churn"}),
        ("registered-models/rename", {"name": "ada.churn", "newName": "ben.churn"}),
        (
            "traces",
            {
                "experiment_id": "ada experiment",
                "trace": {"traceInfo": {"trace_location": {"mlflowExperiment": {"experimentId": "ben experiment"}}}},
            },
        ),
    ],
)
async def test_nothing_is_hidden_behind_what_is_mine(
    mlflow: httpx.AsyncClient, signer: Signer, tracked: Tracked, path: str, body: dict[str, Any]
) -> None:
    text = json.dumps(body)
    for owner in ("ada", "ben"):
        for kind in ("run", "model", "experiment"):
            text = text.replace(f"{owner} {kind}", getattr(tracked, kind)[owner])
    for content in (text, json.dumps(text)):
        answer = await mlflow.post(f"{API}/{path}?name=ada.churn", content=content, headers=as_(signer, ADA))
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("path", ["runs/log-metric", "runs/create", "experiments/update", "registered-models/create"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"name": 3, "run_id": 3, "experiment_id": 3}', b'{"new_name": ""}']
)
async def test_a_change_names_its_subject(mlflow: httpx.AsyncClient, signer: Signer, path: str, body: bytes) -> None:
    answer = await mlflow.post(f"{API}/{path}", content=body, headers=as_(signer, ADA))
    assert answer.status_code == MalformedRequest.status


@pytest.mark.parametrize(
    ("path", "body"),
    [("runs/log-metric", {"run_id": "none"}), ("runs/create", {"experiment_id": "99"}), ("logged-models/m-none", {})],
)
async def test_what_does_not_exist_is_not_found(
    mlflow: httpx.AsyncClient, signer: Signer, path: str, body: dict[str, str]
) -> None:
    answer = await mlflow.post(f"{API}/{path}", json=body, headers=as_(signer, ADA))
    assert answer.status_code == NotFound.status
    assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    ("method", "path", "changing"),
    [
        ("POST", f"{MODELS}/create", True),
        ("DELETE", "/mlflow/ajax-api/2.0/mlflow/model-versions/delete", True),
        ("POST", f"{API}/runs/create", True),
        ("POST", "/mlflow/ajax-api/3.0/mlflow/something/new", True),
        ("PATCH", f"{API}/runs/search", True),
        ("POST", f"{MODELS}/get-latest-versions", False),
        ("POST", f"{API}/runs/search", False),
        ("POST", "/mlflow/ajax-api/3.0/mlflow/traces/search", False),
        ("POST", "/mlflow/graphql", False),
        ("GET", f"{MODELS}/alias", False),
    ],
)
async def test_whoever_is_signed_in_reads(
    mlflow: httpx.AsyncClient, signer: Signer, method: str, path: str, changing: bool
) -> None:
    assert changes(method, path) is changing
    answer = await mlflow.request(method, path, json={}, headers=as_(signer, READER))
    assert answer.status_code == (403 if changing else 200)


@pytest.mark.parametrize(
    "path", ["/mlflow/api/3.0/mlflow/something/new", f"{API}/runs/create-promptlab-run", f"{ARTIFACTS}/artifacts/x/f"]
)
async def test_changes_without_a_known_owner_are_for_administrators(
    mlflow: httpx.AsyncClient, signer: Signer, path: str
) -> None:
    assert (await mlflow.post(path, json={}, headers=as_(signer, ADA))).status_code == 403
    assert (await mlflow.post(path, json={}, headers=as_(signer, ADMIN))).status_code == 200


async def test_tools_that_act_as_the_server_are_for_administrators(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    path = "/mlflow/ajax-api/3.0/mlflow/assistant/message"
    assert (await mlflow.get(path, headers=as_(signer, ADA))).status_code == 403
    assert (await mlflow.post(path, headers=as_(signer, ADMIN))).status_code == 200


async def test_artifacts_reach_the_streaming_routes(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/f"
    answer = await mlflow.get(f"/mlflow{path}", headers=as_(signer, ADA))
    assert answer.json()["path"] == path


async def test_a_full_disk_is_said_before_anything_is_written(signer: Signer, tracked: Tracked, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 * MiB) as disk:
        mlflow = guarded(signer, tracked, disk.path)
        path = f"{ARTIFACTS}/artifacts/{tracked.experiment['ada']}/r/artifacts/f"
        assert (await mlflow.put(path, content=b"x" * MiB, headers=as_(signer, ADA))).status_code == 200
        assert (await mlflow.put(path, content=b"x" * 4 * MiB, headers=as_(signer, ADA))).status_code == 507
        disk.fill()
        answer = await mlflow.put(path, content=b"x", headers=as_(signer, ADA))
        assert (answer.status_code, answer.json()["code"]) == (507, "StorageFull")
        assert (await mlflow.get(path, headers=as_(signer, ADA))).status_code == 200


async def test_names_are_looked_up_again_after_a_while(tracked: Tracked) -> None:
    now = 0.0
    opened = 0

    def store() -> Any:
        nonlocal opened
        opened += 1
        return tracked.store

    experiments = StoreExperiments(store, lambda: now)
    run = Subject(Kind.run, tracked.run["team"])
    assert await experiments.name(run) == "team/churn"
    asked = opened
    assert await experiments.name(run) == "team/churn"
    assert opened == asked
    tracked.store.rename_experiment(tracked.experiment["team"], "team/other")
    try:
        now = NAME_CACHE
        assert await experiments.name(run) == "team/other"
    finally:
        tracked.store.rename_experiment(tracked.experiment["team"], "team/churn")


def test_json_in_a_json_string_is_read() -> None:
    assert body_members(json.dumps(json.dumps({"name": "x"})).encode()) == {"name": "x"}


@pytest.mark.parametrize(
    "what",
    [
        f"{ARTIFACTS}/artifacts/runs/ada/7/1/output/live/notebook.ipynb",
        f"{ARTIFACTS}/artifacts?path=runs",
        f"{ARTIFACTS}/artifacts?path=runs/ada",
        f"{ARTIFACTS}/artifacts?path=./runs",
        f"{ARTIFACTS}/artifacts/7/%2e%2e/runs/ada",
    ],
)
async def test_what_runs_made_is_not_read_around_the_hub_service(
    mlflow: httpx.AsyncClient, signer: Signer, what: str
) -> None:
    refused = await mlflow.get(what, headers=as_(signer, ADA))
    assert refused.status_code == 403
    assert "for their owners" in refused.json()["message"]
    assert (await mlflow.get(what, headers=as_(signer, ADMIN))).status_code == 200
    assert (await mlflow.get(f"{ARTIFACTS}/artifacts/7/runs/x", headers=as_(signer, ADA))).status_code == 200


async def test_no_experiment_is_put_where_runs_are(mlflow: httpx.AsyncClient, signer: Signer) -> None:
    body = {"name": "ada/peek", "artifact_location": "mlflow-artifacts:/runs/ben"}
    refused = await mlflow.post(f"{API}/experiments/create", json=body, headers=as_(signer, ADA))
    assert refused.status_code == 403
