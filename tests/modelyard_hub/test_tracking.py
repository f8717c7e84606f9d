"""What MLflow is told of runs, by a real MLflow, and by one that goes away in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from harness.mlflow_process import mlflow_process
from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_hub.reconcile.telling import Ending
from modelyard_hub.registry import TOKEN_HEADER
from modelyard_hub.signing import Signer, load_or_make
from modelyard_hub.tracking import MlflowRuns

TAGS = {"mlflow.user": "ada", "modelyard.run": "r1", "modelyard.attempt": "1", "modelyard.reason": "Signaled"}
ENDED = Ending("r1", 1, "churn r1", "FAILED", 1_000, 5_000, {"depth": "3"}, {"auc": 0.5}, TAGS)


class Cut(httpx.AsyncBaseTransport):
    """A way to MLflow that is cut with request number `at`, before it arrives or (`after`) before its answer does."""

    def __init__(self, at: int = 0, after: bool = False) -> None:
        self._way, self.at, self.after, self.requests = httpx.AsyncHTTPTransport(), at, after, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.requests == self.at and not self.after:
            raise httpx.ConnectError("refused")
        answer = await self._way.handle_async_request(request)
        if self.requests == self.at:
            await answer.aread()
            await answer.aclose()
            raise httpx.ReadError("cut")
        return answer

    async def aclose(self) -> None:
        await self._way.aclose()


class Mlflow:
    """A real one, and what is in it."""

    def __init__(self, url: str, signer: Signer) -> None:
        self.url, self.signer = url, signer
        self.way = Cut()
        self.http = httpx.AsyncClient(transport=self.way, timeout=30)
        self.runs = MlflowRuns(self.http, url, signer.service_token)

    async def post(self, what: str, **body: Any) -> dict[str, Any]:
        headers = {TOKEN_HEADER: self.signer.service_token()}
        answer = await self.http.post(f"{self.url}/api/2.0/mlflow/{what}", json=body, headers=headers)
        return dict(answer.raise_for_status().json())

    async def there(self, experiment: str) -> list[dict[str, Any]]:
        headers = {TOKEN_HEADER: self.signer.service_token()}
        where = f"{self.url}/api/2.0/mlflow/experiments/get-by-name"
        found = await self.http.get(where, params={"experiment_name": experiment}, headers=headers)
        number = found.raise_for_status().json()["experiment"]["experiment_id"]
        return list((await self.post("runs/search", experiment_ids=[number], run_view_type="ALL")).get("runs", ()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Signer]]:
    home = tmp_path_factory.mktemp("mlflow")
    signer = load_or_make(home / "signing.pem")
    with mlflow_process(home, signer) as url:
        yield url, signer


@pytest.fixture
async def mlflow(server: tuple[str, Signer]) -> AsyncIterator[Mlflow]:
    made = Mlflow(*server)
    yield made
    await made.http.aclose()


def shown(run: dict[str, Any]) -> tuple[str, dict[str, str], dict[str, float], dict[str, str]]:
    """Status, parameters, metrics, tags."""
    data = run["data"]
    each = ({one["key"]: one["value"] for one in data.get(kind, ())} for kind in ("params", "metrics", "tags"))
    return (run["info"]["status"], *each)  # type: ignore[return-value]


async def test_where_there_is_none_it_is_made_once(mlflow: Mlflow) -> None:
    made = await mlflow.runs.tell("ada/none", [ENDED])
    assert await mlflow.runs.tell("ada/none", [ENDED]) == made
    (run,) = await mlflow.there("ada/none")
    status, params, metrics, tags = shown(run)
    assert (run["info"]["run_id"], run["info"]["run_name"], status) == (made, "churn r1", "FAILED")
    assert (run["info"]["start_time"], run["info"]["end_time"]) == (1_000, 5_000)
    assert (params, metrics) == ({"depth": "3"}, {"auc": 0.5})
    assert TAGS.items() <= tags.items()


async def test_one_that_a_killed_process_left_is_ended_and_one_that_ended_stays(mlflow: Mlflow) -> None:
    number = (await mlflow.post("experiments/create", name="ada/left"))["experiment_id"]
    left = []
    for attempt in ("1", "2", "3"):
        tags = [{"key": "modelyard.run", "value": "r1"}, {"key": "modelyard.attempt", "value": attempt}]
        left.append((await mlflow.post("runs/create", experiment_id=number, tags=tags))["run"]["info"]["run_id"])
    await mlflow.post("runs/log-batch", run_id=left[0], params=[{"key": "depth", "value": "by the notebook"}])
    await mlflow.post("runs/update", run_id=left[1], status="FAILED", end_time=7)
    await mlflow.post("runs/update", run_id=left[2], status="FINISHED", end_time=7)  # as MLflow's client in a notebook
    second, third = (replace(ENDED, attempt=n, tags={**TAGS, "modelyard.attempt": str(n)}) for n in (2, 3))
    assert await mlflow.runs.tell("ada/left", [ENDED, second, third]) == left[2]
    runs = {run["info"]["run_id"]: shown(run) for run in await mlflow.there("ada/left")}
    assert set(runs) == set(left)
    status, params, metrics, tags = runs[left[0]]
    assert (status, metrics, tags["modelyard.reason"]) == ("FAILED", {"auc": 0.5}, "Signaled")
    assert params == {"depth": "by the notebook"}, "MLflow changes no parameter, and its end is told without"
    assert (runs[left[1]][0], "modelyard.reason" in runs[left[1]][3]) == ("FAILED", False)
    assert (runs[left[2]][0], runs[left[2]][3]["modelyard.reason"]) == ("FAILED", "Signaled")
    finished = replace(third, status="FINISHED", tags={}, ended=9)
    await mlflow.post("runs/update", run_id=left[2], status="FINISHED", end_time=7)
    await mlflow.runs.tell("ada/left", [finished])
    assert {run["info"].get("end_time") for run in await mlflow.there("ada/left")} == {5_000, 7}


async def test_texts_that_no_database_takes_are_told_without_what_it_does_not(mlflow: Mlflow) -> None:
    await mlflow.runs.tell("ada/texts", [replace(ENDED, params={"a": "x\0y\ud800"})])
    (run,) = await mlflow.there("ada/texts")
    assert shown(run)[1] == {"a": "x?y?"}


async def test_one_that_somebody_deleted_is_not_made_again(mlflow: Mlflow) -> None:
    made = await mlflow.runs.tell("ada/deleted", [ENDED])
    await mlflow.post("runs/delete", run_id=made)
    assert await mlflow.runs.tell("ada/deleted", [ENDED]) == ""
    assert len(await mlflow.there("ada/deleted")) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 9))
async def test_cut_at_any_request_there_is_one_in_the_end(mlflow: Mlflow, at: int, after: bool) -> None:
    experiment = f"ada/cut-{at}-{after}"
    mlflow.way.at, mlflow.way.after = at, after
    with pytest.raises(Unavailable):
        await mlflow.runs.tell(experiment, [ENDED])
    await mlflow.runs.tell(experiment, [ENDED])
    (run,) = await mlflow.there(experiment)
    assert shown(run)[:3] == ("FAILED", {"depth": "3"}, {"auc": 0.5})


async def test_what_answers_in_its_place_is_no_refusal(mlflow: Mlflow) -> None:
    elsewhere = MlflowRuns(mlflow.http, f"{mlflow.url}/nothing/here", mlflow.signer.service_token)
    with pytest.raises(Unavailable, match="MLflow answered 404"):
        await elsewhere.tell("ada/elsewhere", [ENDED])


async def test_what_mlflow_will_never_take_is_no_trouble_that_passes(mlflow: Mlflow) -> None:
    with pytest.raises(InvalidInput, match="MLflow refuses"):
        await mlflow.runs.tell("", [ENDED])
