"""A resize by the real spawner: what its server is sent, and that it holds on to that server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm, roles
from kubernetes_asyncio.config import kube_config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from harness.pod_spawner import spawner
from harness.web import serving
from modelyard_api.activity import Activity
from modelyard_api.choices import Sizes
from modelyard_api.errors import Conflict
from modelyard_hub.spawner.kubernetes import PodSpawner

KUBECONFIG = {
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "none", "user": {}}],
}
SIZES = Sizes(profile="plain", cpu=2, cpu_sure=2, memory=512 << 20, shm=64 << 20)


@pytest.fixture
async def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PodSpawner:
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    return spawner(tmp_path)


def pod(uid: str) -> dict[str, Any]:
    """It has the sizes that are asked for."""
    has = {"limits": {"cpu": "2", "memory": "512Mi"}}
    return {"metadata": {"uid": uid}, "status": {"containerStatuses": [{"name": "notebook", "resources": has}]}}


async def test_a_server_is_asked_with_its_own_token_or_one_that_opens_it_alone(made: PodSpawner) -> None:
    seen: list[str] = []

    async def answer(request: Request) -> JSONResponse:
        seen.append(request.headers.get("authorization", ""))
        return JSONResponse(Activity(now=time.time(), started=0, last=0).model_dump())

    db = orm.new_session_factory("sqlite:///:memory:")()
    for role in roles.get_default_roles():
        roles.create_role(db, role, commit=False)
    ada = orm.User(name="ada")
    db.add_all([ada, orm.OAuthClient(identifier="jupyterhub", secret="", redirect_uri="", description="")])
    db.commit()
    roles.grant_role(db, ada, "user")
    made.user.new_api_token = ada.new_api_token
    with serving(Starlette(routes=[Route("/user/ada/modelyard/activity", answer)])) as url:
        port = int(url.rpartition(":")[2])
        there = {"proto": "http", "ip": "127.0.0.1", "port": port, "base_url": "/user/ada/", "cookie_name": "ada"}
        made.orm_spawner.server = orm.Server(**there)
        await made._used()
        assert seen == ["token the-token"]
        made.api_token = ""  # as after the hub's restart
        await made._used()
    token = orm.APIToken.find(db, seen[1].removeprefix("token "))
    assert (token.user, token.scopes) == (ada, ["access:servers!server=ada/"])
    assert 0 < token.expires_in <= 60


async def test_another_starts_pod_is_not_taken_for_its_own(made: PodSpawner, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = {f"{made.namespace}/{made.pod_name}": pod("u-1")}
    monkeypatch.setattr(PodSpawner, "pod_reflector", SimpleNamespace(pods=pods))
    await made._until_it_has(pod("u-1"), SIZES, 0)
    for name in pods:
        pods[name] = pod("u-2")
    with pytest.raises(Conflict, match="the server has ended meanwhile"):
        await made._until_it_has(pod("u-1"), SIZES, 0)


def fails(made: PodSpawner, meanwhile: Any) -> None:
    def resized() -> None:
        with made._reserved(SIZES, {"cpu": 2}):
            assert made.orm_spawner.user_options == {"cpu": 2}
            meanwhile()
            raise Conflict("no room")

    with pytest.raises(Conflict, match="no room"):
        resized()


async def test_what_fails_is_taken_back(made: PodSpawner) -> None:
    before = made.cpu_limit, dict(made.user_options), made.sizes
    fails(made, lambda: None)
    assert (made.cpu_limit, made.user_options, made.sizes) == before
    assert made.orm_spawner.user_options == before[1]


async def test_what_another_start_has_is_left_to_it(made: PodSpawner) -> None:
    row = made.orm_spawner

    def replaced() -> None:
        made.user.spawners[""] = object()
        row.user_options, row.state = {"profile": "other"}, {"pod_name": "other"}

    fails(made, replaced)
    assert (row.user_options, row.state) == ({"profile": "other"}, {"pod_name": "other"})
    made.user.spawners[""] = made
    other = SIZES.model_copy(update={"cpu": 4})
    fails(made, lambda: made.take(other))
    assert made.sizes is other
