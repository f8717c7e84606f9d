"""What an administrator of this machine may ask: with the secrets of the state folder, over the public APIs."""

from __future__ import annotations

import json
from typing import Any

import httpx

from modelyard_api.conditions import find
from modelyard_api.endpoints import Endpoint, EndpointList
from modelyard_api.errors import Forbidden, Unavailable
from modelyard_api.problem import Problem, from_problem
from modelyard_api.volumes import Volume, VolumeList
from modelyard_hub.auth import READ, WRITE
from modelyard_hub.embedded.home import Ports, secrets_of
from modelyard_hub.settings import Settings

_API = "/services/modelyard/api/v1"


class Admin:
    """Talks to a running Modelyard. Unavailable when none runs from this folder, Forbidden without its secrets."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        try:
            self._ports = Ports(**json.loads((settings.home / "ports.json").read_text()))
            token = secrets_of(settings).cli_token
        except FileNotFoundError:
            raise Unavailable(
                f"nothing was started from {settings.home}", remedy="Start it with 'make up', or set MODELYARD_HOME."
            ) from None
        except PermissionError:
            raise Forbidden(f"{settings.home} is not readable", remedy="Use the account that ran 'make up'.") from None
        self._http = httpx.Client(headers={"Authorization": f"token {token}"}, timeout=20, trust_env=False)

    def _hub(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        answer = self._http.request(method, f"http://127.0.0.1:{self._ports.hub}/hub/api{path}", **arguments)
        if answer.is_error:
            raise Unavailable(f"JupyterHub answered {answer.status_code}: {answer.text}", remedy="See its log.")
        return answer

    def _api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{self._ports.service}{_API}{path}"
        answer = self._http.request(method, url, **arguments)
        if answer.is_error:
            raise from_problem(Problem.model_validate(answer.json()))
        return answer

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The REST API's answer to an administrator; raises the error that it answers."""
        return self._api(method, path, **arguments)

    def status(self) -> list[dict[str, Any]]:
        """One row for each part: `part`, `url`, `state`."""
        base = f"http://{self._settings.host}:{self._settings.port}"
        probes = {
            "router": f"http://127.0.0.1:{self._ports.traefik_api}/api/version",
            "jupyterhub": f"{base}/hub/health",
            "service": f"{base}/services/modelyard/health",
            "mlflow": f"http://127.0.0.1:{self._ports.mlflow}/mlflow/health",
        }
        return [{"part": part, "url": url, "state": _probe(url)} for part, url in probes.items()]

    def users(self) -> list[dict[str, Any]]:
        """One row for each user."""
        return [
            {
                "user": user["name"],
                "admin": user["admin"],
                "groups": ", ".join(user["groups"]),
                "server": "running" if user.get("server") else "stopped",
            }
            for user in self._hub("GET", "/users").json()
        ]

    def token(self, user: str) -> str:
        """A new token of a user, for reading and writing endpoints; the user is made where there is none."""
        known = self._http.get(f"http://127.0.0.1:{self._ports.hub}/hub/api/users/{user}")
        if known.status_code == 404:
            self._hub("POST", f"/users/{user}")
        scopes = [READ, WRITE, "read:users:name", "read:users:groups"]
        body = {"note": "modelyard token", "scopes": [f"{scope}!user={user}" for scope in scopes]}
        token: str = self._hub("POST", f"/users/{user}/tokens", json=body).json()["token"]
        return token

    def accounts(self) -> list[str]:
        """Names of all accounts."""
        return [str(name) for name in self._hub("GET", "/modelyard/accounts").json()["names"]]

    def volumes(self) -> list[Volume]:
        """Everybody's that are in use."""
        return list(VolumeList.model_validate_json(self._api("GET", "/volumes").content).items)

    def endpoints(self) -> list[dict[str, Any]]:
        """One row for each endpoint."""
        return [_row(endpoint) for endpoint in self.endpoint_list()]

    def endpoint_list(self) -> list[Endpoint]:
        """All endpoints of everybody."""
        return EndpointList.model_validate_json(self._api("GET", "/endpoints").content).items

    def endpoint(self, owner: str, name: str) -> dict[str, Any]:
        """One endpoint as the API answers it."""
        found: dict[str, Any] = self._api("GET", f"/endpoints/{owner}/{name}").json()
        return found

    def rollback(self, owner: str, name: str) -> list[dict[str, Any]]:
        """Send all traffic to the last stable revision before the present one."""
        answer = self._api("POST", f"/endpoints/{owner}/{name}/rollback")
        return [_row(Endpoint.model_validate_json(answer.content))]

    def delete(self, owner: str, name: str) -> None:
        """Mark an endpoint as to be deleted."""
        etag = self._api("GET", f"/endpoints/{owner}/{name}").headers["etag"]
        self._api("DELETE", f"/endpoints/{owner}/{name}", headers={"If-Match": etag})


def _row(endpoint: Endpoint) -> dict[str, Any]:
    ready = find(endpoint.status.conditions, "Ready")
    traffic = ", ".join(f"r{t.revision} {t.percent} %" for t in endpoint.spec.traffic)
    return {
        "owner": endpoint.owner,
        "endpoint": endpoint.name,
        "state": ready.reason if ready else "Unknown",
        "traffic": traffic,
        "replicas": sum(revision.ready_replicas for revision in endpoint.status.revisions),
        "url": endpoint.status.url,
    }


def _probe(url: str) -> str:
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
    except httpx.TransportError:
        return "away"
    return "answers" if answer.status_code < 400 else f"answers {answer.status_code}"
