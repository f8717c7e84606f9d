"""The registry's part of MLflow's REST API over a dict."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_PREFIX = "/mlflow/api/2.0/mlflow/model-versions"


@dataclass
class FakeMlflow:
    """`versions`: (model, version) to `source`; `downloads`: to the answer of get-download-uri."""

    versions: dict[tuple[str, str], str] = field(default_factory=dict)
    downloads: dict[tuple[str, str], str] = field(default_factory=dict)
    statuses: dict[tuple[str, str], str] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The ASGI application."""
        paths = {"get": self._get, "get-download-uri": self._download, "search": self._search}
        return Starlette(routes=[Route(f"{_PREFIX}/{name}", handler) for name, handler in paths.items()])

    async def _get(self, request: Request) -> Response:
        key = (request.query_params["name"], request.query_params["version"])
        claims = jwt.decode(request.headers["x-modelyard-token"], options={"verify_signature": False})
        if claims["aud"] != "modelyard-mlflow" or not claims["admin"]:
            return JSONResponse({"error_code": "PERMISSION_DENIED"}, 403)
        if key not in self.versions:
            return JSONResponse({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}, 404)
        entry = {"source": self.versions[key], "status": self.statuses.get(key, "READY")}
        return JSONResponse({"model_version": entry})

    async def _download(self, request: Request) -> Response:
        key = (request.query_params["name"], request.query_params["version"])
        return JSONResponse({"artifact_uri": self.downloads[key]})

    async def _search(self, request: Request) -> Response:
        found = re.fullmatch(r"name='(.*)'", request.query_params["filter"])
        assert found is not None
        versions = [{"version": v} for m, v in self.versions if m == found[1]]
        return JSONResponse({"model_versions": versions})
