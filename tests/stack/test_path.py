"""The whole path on the real stack: publish, call, canary, promote, rollback, share, delete; papermill."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from harness.publishing import Publisher, make_caller
from harness.stack import BIN, Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def publisher(stack: Stack) -> Publisher:
    made = Publisher(stack)
    made.publish("walk")
    return made


def test_a_second_version_is_a_candidate_until_it_gets_traffic(stack: Stack, publisher: Publisher) -> None:
    call = make_caller(stack, "ada", "walk")
    assert call().status_code == 200
    publisher.publish("walk", traffic=10)
    answered = Counter(call().raise_for_status().headers["x-modelyard-revision"] for _ in range(200))
    assert answered["1"] > answered["2"] > 0
    assert 10 <= answered["2"] <= 30
    by_header = call(**{"X-Modelyard-Revision": "2"})
    assert by_header.headers["x-modelyard-revision"] == "2"


def test_a_second_user_sees_and_calls_but_does_not_change(stack: Stack, publisher: Publisher) -> None:
    with stack.client("bob") as bob:
        listed = bob.get("/endpoints").raise_for_status().json()["items"]
        assert "walk" in [e["name"] for e in listed if e["owner"] == "ada"]
        assert make_caller(stack, "ada", "walk", user="bob")().status_code == 200
        etag = bob.get("/endpoints/ada/walk").headers["etag"]
        refused = bob.delete("/endpoints/ada/walk", headers={"If-Match": etag})
        assert refused.status_code == 403
        assert "belongs to 'ada'" in refused.json()["detail"]


def test_only_who_may_calls(stack: Stack, publisher: Publisher) -> None:
    call = make_caller(stack, "ada", "walk")
    call.token = "nonsense"
    assert call().status_code == 401
    with stack.client("ada") as ada:
        call.token = ada.post("/endpoints/ada/walk/keys", json={"name": "billing"}).raise_for_status().json()["secret"]
        eventually(lambda: call().status_code == 200, what="the new key is known to the model servers")
        key = ada.get("/endpoints/ada/walk/keys").json()["items"][0]["id"]
        ada.delete(f"/endpoints/ada/walk/keys/{key}").raise_for_status()
    eventually(lambda: call().status_code == 401, what="the removed key is refused")
    assert httpx.get(f"{stack.url}/serve/ada/walk/metrics").status_code in (401, 404)


def test_a_token_for_scripts_carries_only_what_the_library_needs(stack: Stack) -> None:
    token = stack.token("carol")
    headers = {"Authorization": f"token {token}"}
    hub = f"{stack.url}/hub/api"
    assert httpx.get(f"{hub}/user", headers=headers).json()["name"] == "carol"
    assert httpx.get(f"{hub}/users", headers=headers).status_code == 403
    assert httpx.post(f"{hub}/users/carol/server", headers=headers).status_code == 403


@pytest.fixture
def mlflow(stack: Stack) -> Iterator[Callable[[str], httpx.Client]]:
    """MLflow's API for whoever has a token."""
    with ExitStack() as clients:

        def client(token: str) -> httpx.Client:
            headers = {"Authorization": f"Bearer {token}"}
            made = httpx.Client(base_url=f"{stack.url}/mlflow/api/2.0", headers=headers, timeout=30)
            return clients.enter_context(made)

        yield client


def read_only(stack: Stack, user: str) -> str:
    """A token that may read as `user`."""
    scopes = ["custom:modelyard:read", "read:users:name", "read:users:groups"]
    with stack.hub() as hub:
        answer = hub.post(f"/users/{user}/tokens", json={"scopes": [f"{scope}!user={user}" for scope in scopes]})
    return str(answer.raise_for_status().json()["token"])


def test_mlflow_models_are_written_by_their_owner(stack: Stack, mlflow: Callable[[str], httpx.Client]) -> None:
    path, body = "/mlflow/registered-models/create", {"name": "bob.model"}
    refused = mlflow(stack.token("ada")).post(path, json=body)
    assert refused.status_code == 403
    assert "belongs to 'bob'" in refused.json()["message"]
    assert mlflow("nobody").post(path, json=body).status_code == 401


def test_mlflow_runs_are_written_by_their_owner(
    stack: Stack, publisher: Publisher, mlflow: Callable[[str], httpx.Client]
) -> None:
    ada, bob, reader = (mlflow(t) for t in (stack.token("ada"), stack.token("bob"), read_only(stack, "ada")))
    found = bob.get("/mlflow/experiments/get-by-name", params={"experiment_name": "ada/walk"}).raise_for_status()
    experiment = found.json()["experiment"]["experiment_id"]
    runs = bob.post("/mlflow/runs/search", json={"experiment_ids": [experiment]}).raise_for_status().json()["runs"]
    run = runs[0]["info"]["run_id"]
    artifact = f"/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/note.txt"
    for who, status in ((bob, 403), (reader, 403), (ada, 200)):
        for answer in (
            who.post("/mlflow/runs/set-tag", json={"run_id": run, "key": "seen", "value": "yes"}),
            who.post("/mlflow/runs/log-metric", json={"run_id": run, "key": "m", "value": 1.0, "timestamp": 0}),
            who.post("/mlflow/runs/create", json={"experiment_id": experiment, "start_time": 0}),
            who.put(artifact, content=b"mine"),
        ):
            assert answer.status_code == status, answer.text
        assert who.get("/mlflow/runs/get", params={"run_id": run}).status_code == 200
    assert bob.get(artifact).content == b"mine"
    assert bob.delete(artifact).status_code == 403


_LOGGED = """
import warnings
warnings.simplefilter("ignore")
import mlflow, mlflow.xgboost, numpy, pandas, xgboost
import modelyard as yard
rows = pandas.DataFrame({"a": numpy.arange(40.0), "b": numpy.arange(40.0)[::-1]})
model = xgboost.XGBClassifier(n_estimators=4).fit(rows, (rows.a > 20).astype(int))
mlflow.set_experiment("ada/logged")
with mlflow.start_run():
    mlflow.xgboost.log_model(model, name="model", input_example=rows[:3], registered_model_name="ada.logged",
                             model_format="ubj", pip_requirements=["xgboost"])
endpoint = yard.publish("models:/logged/1", "logged")
assert endpoint.status.revisions[0].flavor == "xgboost", endpoint.status
assert (endpoint.predict_proba(rows) == model.predict_proba(rows)).all()
"""


def test_a_model_logged_with_mlflow_is_published_by_its_name(stack: Stack, publisher: Publisher) -> None:
    uri = {"MLFLOW_TRACKING_URI": f"{stack.url}/mlflow", "MLFLOW_TRACKING_TOKEN": stack.token("ada")}
    command = [str(BIN / "python"), "-c", _LOGGED]
    done = subprocess.run(command, env=stack.library("ada") | uri, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr + done.stdout


def test_deleted_endpoints_leave_nothing(stack: Stack, publisher: Publisher) -> None:
    publisher.publish("brief")
    done = stack.command("endpoints", "delete", "ada", "brief")
    assert done.returncode == 0, done.stderr
    with stack.client("ada") as ada:
        eventually(lambda: ada.get("/endpoints/ada/brief").status_code == 404, what="the endpoint is gone")
    with httpx.Client(base_url=stack.url, trust_env=False) as caller:
        for answer in (caller.post("/serve/ada/brief/invocations", json={}), caller.get("/serve/nobody/nothing/v2")):
            assert answer.status_code == 404
            assert answer.json()["detail"].startswith("there is no endpoint ")
    left = [p for p in (stack.home / "workloads").iterdir() if "brief" in p.name]
    assert not left


def papermill(stack: Stack, folder: Path, notebook: str, **parameters: object) -> str:
    """What the notebook's cells printed; AssertionError when one raised."""
    path = REPOSITORY / "notebooks" / notebook
    command = [str(BIN / "papermill"), str(path), "out.ipynb", "--cwd", str(path.parent)]
    for key, value in parameters.items():
        command += ["-p", key, str(value)]
    done = subprocess.run(command, env=stack.library("ada"), cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    cells = json.loads((folder / "out.ipynb").read_text())["cells"]
    return "".join(
        "".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []) if "text" in output
    )


@pytest.mark.timeout(600)
def test_notebook_of_comparing_and_searching_through_papermill(stack: Stack, tmp_path: Path) -> None:
    printed = papermill(stack, tmp_path, "03-compare-and-search.ipynb", name="compared", trials=6)
    assert "6 trials of Pipeline at most" in printed
    assert "best log_loss" in printed


@pytest.mark.timeout(600)
def test_notebook_of_panels_through_papermill(stack: Stack, tmp_path: Path) -> None:
    printed = papermill(stack, tmp_path, "04-without-code.ipynb", name="clicked")
    assert "accuracy" in printed
    saved = json.loads((tmp_path / "out.ipynb").read_text())
    assert "widgets" not in saved["metadata"]


@pytest.mark.timeout(600)
def test_notebook_of_runs_through_papermill(stack: Stack, tmp_path: Path) -> None:
    printed = papermill(stack, tmp_path, "05-batch.ipynb", name="penguins", scores=tmp_path / "scores")
    assert "the notebook has no parameter 'dept'" in printed
    assert "penguins: 2 succeeded" in printed
    assert "At 02:30 on Monday through Friday" in printed
    assert list((tmp_path / "scores").glob("*.parquet"))
    with stack.client("ada") as ada:
        assert [one["name"] for one in ada.get("/schedules").json()["items"] if one["name"] == "penguins"] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("notebook", "name"), [("01-train-and-publish.ipynb", "churn"), ("02-train-a-network.ipynb", "digits")]
)
def test_notebooks_that_publish_through_papermill(stack: Stack, tmp_path: Path, notebook: str, name: str) -> None:
    printed = papermill(stack, tmp_path, notebook, name=name)
    assert "accuracy" in printed
    curl = next(line for line in printed.splitlines() if line.startswith("curl "))
    answer = subprocess.run(shlex.split(curl), capture_output=True, text=True, timeout=30)
    assert "outputs" in json.loads(answer.stdout), answer.stdout
