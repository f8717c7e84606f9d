"""The model registry: a registered version in, its files out. What MLflow is told of runs: `tracking.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import httpx
from pydantic import ValidationError

from modelyard_api.errors import InvalidInput, Unavailable, UnknownVersion
from modelyard_api.models import MANIFEST_PATH, PackageManifest
from modelyard_hub.artifacts import Artifacts
from modelyard_hub.runtimes.base import Package

TOKEN_HEADER = "X-Modelyard-Token"
_PATH = "api/2.0/mlflow/model-versions"
_PUBLISH = "Publish it with yard.publish(model, name, example=…), which makes the package."


class Registry(Protocol):
    """Where registered models are."""

    async def resolve(self, model: str, version: str) -> Package:
        """The files of a version. UnknownVersion names what exists; InvalidInput when it is no package; Unavailable."""

    async def newest(self, model: str) -> int:
        """The number of a model's newest version, 0 where it has none. Unavailable."""


class MlflowRegistry:
    """MLflow's registry over REST, with the store that its artifacts are in."""

    def __init__(self, http: httpx.AsyncClient, url: str, artifacts: Artifacts, token: Callable[[], str]) -> None:
        """`url` of the MLflow server with its prefix; `token` makes what it accepts from this service."""
        self._http = http
        self._url = url.rstrip("/")
        self._artifacts = artifacts
        self._token = token

    async def resolve(self, model: str, version: str) -> Package:
        """See `Registry.resolve`."""
        found = await self._get("get", name=model, version=version)
        if found is None:
            raise await self._unknown(model, version)
        entry: dict[str, Any] = found["model_version"]
        if entry.get("status", "READY") != "READY":
            raise InvalidInput(f"version {version} of {model} is {entry['status']} in the registry, not READY")
        location = self._artifacts.locate(str(entry.get("source", "")))
        if location is None:
            answer = await self._get("get-download-uri", name=model, version=version) or {}
            location = self._artifacts.locate(str(answer.get("artifact_uri", "")))
        if location is None:
            raise InvalidInput(
                f"the files of version {version} of {model} are at {entry.get('source')!r}, not in the artifact store",
                remedy=_PUBLISH,
            )
        text = await self._artifacts.read(location, MANIFEST_PATH)
        if text is None:
            raise InvalidInput(f"version {version} of {model} holds no package ({MANIFEST_PATH})", remedy=_PUBLISH)
        try:
            flavor = PackageManifest.model_validate_json(text).flavor
        except ValidationError as error:
            raise InvalidInput(
                f"{MANIFEST_PATH} of version {version} of {model} is no package manifest", remedy=_PUBLISH
            ) from error
        return Package(location, model, version, flavor)

    async def newest(self, model: str) -> int:
        """See `Registry.newest`."""
        if "'" in model:
            return 0
        query = {"filter": f"name='{model}'", "max_results": "1", "order_by": "version_number DESC"}
        answer = await self._get("search", **query) or {}
        return max((int(v["version"]) for v in answer.get("model_versions", ())), default=0)

    async def _unknown(self, model: str, version: str) -> UnknownVersion:
        known: list[str] = []
        if "'" not in model:
            query = {"filter": f"name='{model}'", "max_results": "100"}
            answer = await self._get("search", **query) or {}
            known = [str(v["version"]) for v in answer.get("model_versions", ())]
        if known:
            versions = ", ".join(sorted(known, key=lambda v: (len(v), v)))
            return UnknownVersion(f"{model} has no version {version}; it has {versions}")
        return UnknownVersion(f"the registry has no model {model!r} that has a version")

    async def _get(self, what: str, **query: str) -> dict[str, Any] | None:
        """MLflow's answer, or None when it says that there is no such thing."""
        headers = {TOKEN_HEADER: self._token()}
        try:
            answer = await self._http.get(f"{self._url}/{_PATH}/{what}", params=query, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable("MLflow does not answer, so the model version cannot be looked up") from error
        code = error_code(answer)
        if code == "RESOURCE_DOES_NOT_EXIST":
            return None
        if code == "INVALID_PARAMETER_VALUE":
            raise InvalidInput(f"MLflow refuses {query}: {answer.json().get('message', '')}")
        if answer.status_code != 200:
            raise Unavailable(f"MLflow answered {answer.status_code}, so the model version cannot be looked up")
        document: dict[str, Any] = answer.json()
        return document


def error_code(answer: httpx.Response) -> str:
    """MLflow's word for what is wrong; empty where nothing is, or where something else answered."""
    if answer.status_code < 400:
        return ""
    try:
        return str(answer.json().get("error_code", ""))
    except (ValueError, AttributeError):
        return ""
