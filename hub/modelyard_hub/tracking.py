"""What MLflow is told of how runs ended, over its REST API."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx

from modelyard_api.errors import Conflict, InvalidInput, NotFound, Unavailable
from modelyard_api.tracked import TRACKED_ATTEMPT, TRACKED_RUN, text
from modelyard_hub.reconcile.telling import Ending
from modelyard_hub.registry import TOKEN_HEADER, error_code

log = logging.getLogger(__name__)
_UNFINISHED = ("RUNNING", "SCHEDULED")
_MOST = 100
"""Of parameters, and of runs in an answer."""
_METRICS = 900
_KEY, _VALUE = 250, 500
_AGAIN = (401, 403, 429)
"""What MLflow refuses for reasons that pass. So does all from 500 on, and what something in its place answers."""


class MlflowRuns:
    """A run in MLflow for each attempt of a run: that of its process, ended, or one that is made here. Either has the
    attempt among its tags, by which it is found again: so telling the same again makes no second one."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: Callable[[], str]) -> None:
        """`url` of the MLflow server with its prefix; `token` makes what it accepts from this service."""
        self._http, self._url, self._token = http, f"{url.rstrip('/')}/api/2.0/mlflow", token

    async def tell(self, experiment: str, endings: Sequence[Ending]) -> str:
        """The id of the last one's run in MLflow, empty where somebody has deleted that. Unavailable; InvalidInput
        where MLflow takes none of it."""
        number = await self._experiment(experiment)
        query = {"experiment_ids": [number], "filter": f"tags.`{TRACKED_RUN}` = '{endings[-1].run}'"}
        answer = await self._post("runs/search", {**query, "run_view_type": "ALL", "max_results": _MOST})
        known = {_tags(run).get(TRACKED_ATTEMPT): run for run in answer.get("runs", ())}
        last = ""
        for ending in endings:
            found = known.get(str(ending.attempt))
            if found is None:
                found = await self._make(number, ending)
            deleted = found["info"].get("lifecycle_stage") == "deleted"
            # FINISHED is also what MLflow's own client says when a notebook's `with mlflow.start_run()` is left.
            if not deleted and found["info"]["status"] in (*_UNFINISHED, *(["FINISHED"] if ending.failed else [])):
                await self._end(found["info"]["run_id"], ending)
            last = "" if deleted else str(found["info"]["run_id"])
        return last

    async def _experiment(self, name: str) -> str:
        for _ in "12":
            with suppress(NotFound):
                found = await self._ask("GET", "experiments/get-by-name", params={"experiment_name": name})
                return str(found["experiment"]["experiment_id"])
            with suppress(Conflict):  # somebody made it in between
                return str((await self._post("experiments/create", {"name": name}))["experiment_id"])
        raise Unavailable(f"MLflow has an experiment {name} and does not find it")

    async def _make(self, experiment: str, ending: Ending) -> dict[str, Any]:
        body = {"experiment_id": experiment, "run_name": ending.name, "start_time": ending.started}
        made: dict[str, Any] = (await self._post("runs/create", {**body, "tags": _pairs(ending.tags)}))["run"]
        return made

    async def _end(self, run_id: str, ending: Ending) -> None:
        """Its status last: until it has one, all of this is done again."""
        await self._post("runs/log-batch", {"run_id": run_id, "tags": _pairs(ending.tags)})
        params = {key[:_KEY]: value[:_VALUE] for key, value in list(ending.params.items())[:_MOST]}
        told = {"timestamp": ending.ended, "step": 0}
        metrics = [{"key": k, "value": v, **told} for k, v in list(ending.metrics.items())[:_METRICS]]
        for logged in ({"metrics": metrics}, {"params": _pairs(params)}):
            try:
                await self._post("runs/log-batch", {"run_id": run_id, **logged})
            except InvalidInput as error:  # such as of a parameter that its process gave another value
                log.warning("run %s: %s", ending.run, error)
        await self._post("runs/update", {"run_id": run_id, "status": ending.status, "end_time": ending.ended})

    async def _post(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask("POST", what, json=body)

    async def _ask(self, method: str, what: str, **request: Any) -> dict[str, Any]:
        headers = {TOKEN_HEADER: self._token()}
        try:
            answer = await self._http.request(method, f"{self._url}/{what}", headers=headers, **request)
        except httpx.HTTPError as error:
            raise Unavailable("MLflow does not answer, and is told later how runs ended") from error
        code = error_code(answer)
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"MLflow has no such thing: {what}")
        if code == "RESOURCE_ALREADY_EXISTS":
            raise Conflict(f"MLflow has it already: {what}")
        if code and 400 <= answer.status_code < 500 and answer.status_code not in _AGAIN:
            raise InvalidInput(f"MLflow refuses {what}: {answer.text[:300]}")
        if answer.status_code != 200:
            raise Unavailable(f"MLflow answered {answer.status_code}, and is told later how runs ended")
        document: dict[str, Any] = answer.json()
        return document


def _pairs(members: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": text(key), "value": text(value)} for key, value in members.items()]


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}
